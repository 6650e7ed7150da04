//! The command line: one file per subcommand. Flags become one checked configuration before anything starts.
//!
//! Exit codes: 0 done, 1 failed, 2 the command was not understood. Everything a person reads goes to standard error,
//! except what was asked for: a report, a list, a completion script.

mod bench;

#[cfg(feature = "dashboard")]
mod dashboard;

mod denoise;

mod device;

mod devices;

mod eval;

mod isolate;

mod model;

mod progress;

mod run;

#[cfg(feature = "serve")]
mod serve;

mod times;

mod train;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser};

const EXAMPLES: &str = "\
Examples:
  auricle run noisy.wav -o clean.wav          clean a recording, with defaults
  auricle run a.wav -o b.wav --picture p.png  and draw it before and after
  auricle run capture.cu8 -o out.cu8 --sample-rate 2e6 --gate off \\
    --wavenumber nyquist
  arecord -q -f FLOAT_LE -r 16000 -d 60 | auricle run - -o clean.wav
  auricle eval --noisy noisy/ --clean clean/  how good the result is, in numbers
  auricle eval policy builtin                 delays between two receivers
  auricle dashboard --demo                    a window on an engine at work
  auricle serve                               hints, cleaning, metrics over HTTP
  auricle devices                             what can run, and `auto`'s choice
  auricle bench all --quick                   how fast, beside limits and peers
  auricle bench qos                           are urgent jobs on time under load
  auricle model show dtln.safetensors         what a denoiser is, what it costs

`auricle help run` explains every option.";

/// Cleans live signals on whatever processor is there: max-abs gate, phi-resolvent filter and denoiser, as one graph that
/// runs on a GPU through Vulkan, Metal or DX12, or on the CPU.
#[derive(Debug, Parser)]
#[command(name = "auricle", version, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Clean a recording or a stream.
    Run(Box<run::RunArguments>),
    /// Measure how good cleaned recordings are, against clean ones and beside two baselines; or delays (`eval policy`).
    Eval(Box<eval::EvalArguments>),
    /// Measure how fast this machine is, and how well it keeps urgent jobs on time.
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// List the processors that can run here, and say which one `auto` takes.
    Devices {
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Watch an engine at work and steer it, in a window or as a picture of one.
    #[cfg(feature = "dashboard")]
    Dashboard(Box<dashboard::DashboardArguments>),
    /// Offer the engine over HTTP: hints for clients that size their batches, cleaning, live streams, metrics.
    #[cfg(feature = "serve")]
    Serve(Box<serve::ServeArguments>),
    /// Show the machine's cores, and try what keeping threads and memory in their places does here.
    Isolate(isolate::IsolateArguments),
    /// Make a model from data that this command makes itself.
    #[command(subcommand)]
    Train(train::TrainCommand),
    /// Look at a model file, or make one of a published network.
    #[command(subcommand)]
    Model(model::ModelCommand),
    /// Print a completion script for a shell: `auricle completions bash > /etc/bash_completion.d/auricle`.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_log();
    match arguments.command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error),
    }
}

impl Command {
    fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Run(arguments) => run::run(&understood(run::RunConfig::new(&arguments))?),
            Self::Eval(arguments) => match &arguments.what {
                Some(eval::EvalCommand::Policy(arguments)) => eval::policy::policy(arguments),
                None => eval::eval(&understood(eval::EvalConfig::new(&arguments))?),
            },
            Self::Bench(command) => bench::bench(&command),
            Self::Devices { json } => devices::devices(json),
            #[cfg(feature = "dashboard")]
            Self::Dashboard(arguments) => {
                dashboard::dashboard(understood(dashboard::DashboardConfig::new(&arguments))?)
            }
            #[cfg(feature = "serve")]
            Self::Serve(arguments) => serve::serve(understood(serve::ServeConfig::new(&arguments))?),
            Self::Isolate(arguments) => isolate::isolate(&arguments),
            Self::Train(command) => train::train(&command),
            Self::Model(command) => model::model(&command),
            Self::Completions { shell } => completions(shell),
        }
    }
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "auricle", &mut script);
    print(String::from_utf8_lossy(&script).trim_end())
}

/// A value that an option cannot have; exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Misuse(String);

/// What keeps a configuration from being made is in the options.
fn understood<T>(config: anyhow::Result<T>) -> anyhow::Result<T> {
    config.map_err(|error| Misuse(format!("{error:#}")).into())
}

#[expect(clippy::print_stderr, reason = "this is where errors reach the user")]
fn complain(error: &anyhow::Error) -> ExitCode {
    eprintln!("auricle: {error:#}");
    ExitCode::from(if error.is::<Misuse>() { 2 } else { 1 })
}

/// Prints what was asked for. A reader that has seen enough, as `head` has, is no failure.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Warnings and errors to standard error; `AURICLE_LOG=debug` shows more.
fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("AURICLE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_target(false)
        .without_time()
        .init();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What clap does not wrap itself.
    fn check(command: &clap::Command) {
        for text in [command.get_after_help(), command.get_after_long_help()].into_iter().flatten() {
            for line in text.to_string().lines() {
                assert!(line.chars().count() <= 80, "{}: {line}", command.get_name());
            }
        }
        command.get_subcommands().for_each(check);
    }

    #[test]
    fn long_help_fits_a_terminal_of_80_columns() {
        check(&Arguments::command());
    }
}
