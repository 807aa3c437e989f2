//! Where adapters are asked over what a suspect has sent: one thread in the background, one call at a time. Who has made an
//! adapter fail or run long waits for his own kind, and the threads that serve everybody else never do.

use crate::background;
use crate::limits::PENALTY_QUEUE_MAX;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tokio::sync::{mpsc, oneshot};

type Job = Box<dyn FnOnce() + Send>;

/// The queue to that thread; it ends with the last session that holds it.
pub struct Penalty(mpsc::Sender<Job>);

impl Penalty {
    pub fn start() -> io::Result<Self> {
        let (queue, mut jobs) = mpsc::channel::<Job>(PENALTY_QUEUE_MAX);
        background::spawn_idle("adapter-penalty", move || {
            while let Some(job) = jobs.blocking_recv() {
                // Whoever waits for it learns that there is no answer.
                drop(catch_unwind(AssertUnwindSafe(job)));
            }
        })?;
        Ok(Self(queue))
    }

    /// Waits for its turn and for the result. `None`: the work has panicked, or the thread is gone.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (told, result) = oneshot::channel();
        let job = move || {
            // Nobody left to tell is fine.
            let _ = told.send(work());
        };
        self.0.send(Box::new(job)).await.ok()?;
        result.await.ok()
    }
}
