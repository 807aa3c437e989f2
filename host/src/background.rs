//! Threads for work that may take its time: they run when nobody who serves devices wants the processor.

use std::io;
use std::thread::{Builder, JoinHandle};

/// The least that Linux knows.
const NICENESS: i32 = 19;

/// Starts such a thread.
pub fn spawn<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> io::Result<JoinHandle<T>> {
    begin(name, step_back, work)
}

/// As `spawn`, for work that must never hold anybody up: a nice thread still keeps the processor for some milliseconds after
/// another wakes, one that runs only when nobody else does gives it away at once.
pub fn spawn_idle<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    begin(name, step_aside, work)
}

fn begin<T: Send + 'static>(
    name: &str,
    yielding: fn(),
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    Builder::new().name(name.into()).spawn(move || {
        yielding();
        work()
    })
}

/// Does a piece of work on such a thread and waits for it. Where there is no thread to be had it is done here.
pub fn wait_for<T: Send>(name: &str, work: impl Fn() -> T + Send + Sync) -> T {
    std::thread::scope(|threads| {
        let started = Builder::new().name(name.into()).spawn_scoped(threads, || {
            step_back();
            work()
        });
        started.ok().and_then(|thread| thread.join().ok()).unwrap_or_else(&work)
    })
}

/// For the calling thread alone, and for good: nobody may take his niceness back.
fn step_back() {
    // Who may not be nicer works as everybody else does.
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "a thread in the background runs like any other");
    }
}

/// As `step_back`, and for nothing but what is left over where the system knows that.
#[cfg(target_os = "linux")]
fn step_aside() {
    use thread_priority::{NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy};
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    let this = thread_priority::thread_native_id();
    if let Err(error) = thread_priority::set_thread_priority_and_policy(this, ThreadPriority::Min, idle) {
        tracing::debug!(?error, "a thread in the background runs like any other");
    }
}

#[cfg(not(target_os = "linux"))]
use step_back as step_aside;

/// The same for those who must not block. `None`: it has panicked, or there was no thread.
pub async fn run<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (told, result) = tokio::sync::oneshot::channel();
    // Nobody left to tell is fine.
    let started = spawn(name, move || drop(told.send(work())));
    started.inspect_err(|error| tracing::warn!(%error, "no thread for work in the background")).ok()?;
    result.await.ok()
}
