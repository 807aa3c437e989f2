//! The program: parse, run, exit code.

/// Frames are made on one thread and dropped on others all day long; the system's allocator spends a sixth of the
/// station's time on that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    polymeter::cli::run()
}
