//! The program: parse, run, exit code.

fn main() -> std::process::ExitCode {
    polymeter::cli::run()
}
