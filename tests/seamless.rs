//! The phi-resolvent filter across frames: as if the whole signal were filtered at once, in pieces as in one.

use auricle::{Domain, FilterMode, FrameShape, GOLDEN_RATIO, Gate, Graph, PhiResolvent, Quiet, Threshold, Wavenumber};
use proptest::prelude::{Just, Strategy as _, prop_oneof};
use proptest::test_runner::{Config, RngSeed};
use proptest::{collection::vec, proptest};

use crate::adapter::{engines, plans};
use crate::compare::{assert_close, assert_same_bits, relative_l2};
use crate::filter::unit;
use crate::gate::LENGTHS;
use crate::oracle;
use crate::pieces::push_in_pieces;
use crate::signals::{bursts, noise};

/// What the documentation promises, relative to the signal's level; a single frame may fare somewhat worse.
const SEAMLESS_TOLERANCE: f64 = 1e-4;

fn seamless(phi: f64, wavenumber: Wavenumber) -> PhiResolvent {
    PhiResolvent { phi, wavenumber, mode: FilterMode::Seamless, ..PhiResolvent::default() }
}

fn graph(shape: FrameShape, filter: PhiResolvent) -> Graph {
    Graph::new().input("in", shape).filter("filter", "in", filter).output("out", "filter")
}

/// The whole signal filtered at once, with as much silence after it as it is long, so that nothing comes round.
fn whole(samples: &[f32], domain: Domain, filter: &PhiResolvent) -> Vec<f64> {
    let is_complex = domain == Domain::Complex;
    let mut signal = oracle::complex(samples, is_complex);
    let len = signal.len();
    signal.resize((2 * len).next_power_of_two(), (0.0, 0.0));
    let columns = signal.len();
    let response = |column, row| oracle::resolvent(filter.phi, unit(filter.wavenumber), column, row);
    oracle::floats(&oracle::filter(&signal, columns, response)[..len], is_complex)
}

/// Filters a signal of every channel on every device, and holds each frame against the whole signal's.
fn check(shape: FrameShape, filter: PhiResolvent, samples: &[f32], channels: usize) {
    let row = samples.len() / channels;
    let right: Vec<f64> = samples.chunks(row).flat_map(|channel| whole(channel, shape.domain(), &filter)).collect();
    let level = (right.iter().map(|x| x * x).sum::<f64>() / right.len() as f64).sqrt();
    for engine in engines() {
        let plan = engine.compile(&graph(shape, filter)).expect("the graph should compile");
        assert_eq!(plan.latency_frames(), 1, "the next frame is looked at");
        let output = plan.run(&[samples], channels).expect("the run should succeed");
        let cleaned = output.dense("out").expect("the output is there");
        let what = format!("{shape}, phi {}, {:?} on {}", filter.phi, filter.wavenumber, engine.device().name);
        assert_close(cleaned, &right, SEAMLESS_TOLERANCE, &what);
        for (index, (cleaned, right)) in cleaned.chunks(shape.floats()).zip(right.chunks(shape.floats())).enumerate() {
            let error: f64 = cleaned.iter().zip(right).map(|(a, e)| (f64::from(*a) - e).powi(2)).sum();
            let relative = (error / right.len() as f64).sqrt() / level;
            assert!(relative <= 2.0 * SEAMLESS_TOLERANCE, "frame {index} of {what}: {relative:e}");
        }
    }
}

#[test]
fn every_length_equals_the_whole_signal() {
    for len in LENGTHS {
        for shape in [FrameShape::real(len), FrameShape::complex(len)] {
            for wavenumber in [Wavenumber::Cycles, Wavenumber::Nyquist, Wavenumber::Radians] {
                check(shape, seamless(GOLDEN_RATIO, wavenumber), &noise(6 * shape.floats(), len as u64), 2);
            }
        }
    }
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..Config::with_cases(24) })]

    #[test]
    fn any_signal_comes_out_as_if_filtered_at_once(
        len in prop_oneof![Just(64_usize), Just(128), Just(512), Just(1024)],
        is_complex in proptest::bool::ANY,
        wavenumber in prop_oneof![Just(Wavenumber::Cycles), Just(Wavenumber::Nyquist), Just(Wavenumber::Radians)],
        phi_log in -2.0_f64..1.0,
        (channels, frames) in (1_usize..4, 1_usize..9),
        seed in 0_u64..1000,
    ) {
        let shape = if is_complex { FrameShape::complex(len) } else { FrameShape::real(len) };
        // Some frames are steady, as a signal that is not noise is.
        let mut samples = noise(channels * frames * shape.floats(), seed);
        for frame in samples.chunks_mut(shape.floats()).step_by(3) {
            frame.iter_mut().for_each(|x| *x = 0.1 * *x + 0.7);
        }
        check(shape, seamless(10_f64.powf(phi_log), wavenumber), &samples, channels);
    }

    #[test]
    fn a_session_in_any_pieces_equals_one_run(
        len in prop_oneof![Just(64_usize), Just(256)],
        is_complex in proptest::bool::ANY,
        quiet in prop_oneof![Just(Quiet::Zero), Just(Quiet::Pass)],
        hold in 0_u32..4,
        (channels, frames) in (1_usize..4, 1_usize..60),
        lengths in vec(0_usize..20, 1..6).prop_filter("something is pushed", |lengths| lengths.iter().sum::<usize>() > 0),
        seed in 0_u64..1000,
    ) {
        let shape = if is_complex { FrameShape::complex(len) } else { FrameShape::real(len) };
        let is_loud = |index: usize| (index as u64 * 7 + seed) % 11 < 5;
        let samples = bursts(shape.floats(), channels * frames, seed, is_loud);
        let gate = Gate { threshold: Threshold::Linear(0.001), hold, quiet, ..Gate::default() };
        let filter = seamless(GOLDEN_RATIO, Wavenumber::Nyquist);
        let graph = Graph::new()
            .input("in", shape)
            .gate("gate", "in", gate)
            .filter("filter", "gate", filter)
            .output("out", "filter");
        let plans = plans(&graph, &[8]);
        let cpu_states = plans[0].1.run(&[&samples], channels).expect("the run should succeed").states().to_vec();
        for (name, plan) in plans {
            let at_once = plan.run(&[&samples], channels).expect("the run should succeed");
            let pieces = push_in_pieces(&plan, &samples, channels, &lengths, "out");
            assert_eq!(at_once.states(), cpu_states, "{name}");
            assert_eq!(pieces.states.concat(), cpu_states, "pieces of {lengths:?} on {name}");
            let what = format!("pieces of {lengths:?} on {name}");
            assert_same_bits(&pieces.floats.concat(), at_once.dense("out").expect("it is there"), &what);
        }
    }
}

#[test]
fn neighbours_are_heard_as_the_gate_lets_them() {
    // Loud, quiet, loud: the quiet one is a neighbour only where it passes.
    let shape = FrameShape::real(64);
    let mut samples = noise(3 * 64, 31);
    samples[64..128].iter_mut().for_each(|x| *x *= 0.01);
    let filter = seamless(1.0, Wavenumber::Radians);
    for quiet in [Quiet::Zero, Quiet::Pass] {
        let mut heard = samples.clone();
        if quiet == Quiet::Zero {
            heard[64..128].fill(0.0);
        }
        let right = whole(&heard, Domain::Real, &filter);
        let gate = Gate { threshold: Threshold::Linear(0.05), quiet, ..Gate::default() };
        let graph = Graph::new()
            .input("in", shape)
            .gate("gate", "in", gate)
            .filter("filter", "gate", filter)
            .output("out", "filter");
        for (name, plan) in plans(&graph, &[4]) {
            let output = plan.run(&[&samples], 1).expect("the run should succeed");
            let cleaned = output.dense("out").expect("the output is there");
            for frame in [0, 2] {
                let range = frame * 64..(frame + 1) * 64;
                let error = relative_l2(&cleaned[range.clone()], &right[range]);
                assert!(error < SEAMLESS_TOLERANCE, "frame {frame}, {quiet:?} on {name}: {error:e}");
            }
            assert_same_bits(&cleaned[64..128], &heard[64..128], &format!("the quiet one, {quiet:?} on {name}"));
        }
    }
}

#[test]
fn block_mode_and_seamless_mode_differ() {
    // Or else the tests above could not tell them apart.
    let shape = FrameShape::real(64);
    let samples = noise(4 * 64, 32);
    let filter = seamless(GOLDEN_RATIO, Wavenumber::Radians);
    let right = whole(&samples, Domain::Real, &filter);
    let block = PhiResolvent { mode: FilterMode::Block, ..filter };
    let plan = engines()[0].compile(&graph(shape, block)).expect("the graph should compile");
    let output = plan.run(&[&samples], 1).expect("the run should succeed");
    assert!(relative_l2(output.dense("out").expect("it is there"), &right) > 0.01, "edges differ");
}

#[test]
fn a_phi_that_reaches_too_far_is_refused_with_the_mend() {
    for engine in engines() {
        let graph = graph(FrameShape::real(64), seamless(1e9, Wavenumber::Radians));
        let error = engine.compile(&graph).expect_err("nothing reaches that far").to_string();
        assert!(error.contains("`filter`") && error.contains("block mode"), "{error}");
    }
}
