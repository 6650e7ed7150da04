//! The `auricle` command: arguments in, exit code out.

fn main() -> std::process::ExitCode {
    auricle::cli::main()
}
