//! The only test binary.

#![expect(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test may stop at a surprise; Clippy's own exception leaves out what tests share"
)]

/// Picks the test adapters.
mod adapter;

/// Slow definitions in f64.
mod oracle;

/// Tolerances, and tests that they reject a wrong answer.
mod compare;

/// The phi-resolvent filter.
mod filter;

/// Results whose memory is used again.
mod reuse;
