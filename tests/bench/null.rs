//! The null station: accept, read a length and that many bytes, append them to redb, acknowledge after the commit.
//!
//! The same shape as the station's journal (one writer thread, group commit, immediate durability) and nothing of
//! what the journal is for: no decoding, no hash chain, no views, no sessions.

use polymeter::limits;
use redb::{Database, Durability, TableDefinition};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

const ROWS: TableDefinition<u64, &[u8]> = TableDefinition::new("rows");

type Row = (Vec<u8>, oneshot::Sender<()>);

/// Rows on their way to the writer.
#[derive(Default)]
struct Queue {
    rows: Mutex<Vec<Row>>,
    filled: Condvar,
    /// The writer wants so many before it is woken.
    wanted: AtomicUsize,
}

impl Queue {
    fn push(&self, row: Row) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.push(row);
        let enough = rows.len() == self.wanted.load(Ordering::Relaxed);
        drop(rows);
        if enough {
            self.filled.notify_one();
        }
    }

    /// Everything there is, once there is anything; after a commit of many rows, once as many have come again or
    /// `COMMIT_GATHER` has passed. As the journal does.
    fn take(&self, before: usize) -> Vec<Row> {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if before >= limits::COMMIT_GATHER_FROM {
            self.wanted.store(before, Ordering::Relaxed);
            let gathering = self.filled.wait_timeout_while(rows, limits::COMMIT_GATHER, |rows| rows.len() < before);
            rows = gathering.unwrap_or_else(PoisonError::into_inner).0;
        }
        self.wanted.store(1, Ordering::Relaxed);
        rows = self.filled.wait_while(rows, |rows| rows.is_empty()).unwrap_or_else(PoisonError::into_inner);
        let count = rows.len().min(limits::COMMIT_ENTRIES_MAX);
        rows.drain(..count).collect()
    }
}

/// Serves until killed; prints its address first.
pub fn run(data: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(data)?;
    let database = Database::create(data.join("null.redb"))?;
    let rows = Arc::new(Queue::default());
    let waiting = rows.clone();
    std::thread::spawn(move || write(&database, &waiting).expect("the null store"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async move {
        let listener: TcpListener = polymeter::link::bind_stream(([127, 0, 0, 1], 0).into())?;
        println!("{}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let rows = rows.clone();
            tokio::spawn(async move {
                // A peer that goes away ends its own connection, nothing else.
                let _ = serve(stream, rows).await;
            });
        }
    })
}

async fn serve(mut stream: TcpStream, rows: Arc<Queue>) -> anyhow::Result<()> {
    let mut buffer = vec![0; 2_048];
    loop {
        let mut filled = 0;
        let length = loop {
            if filled >= 2 {
                let length = usize::from(u16::from_le_bytes([buffer[0], buffer[1]]));
                if filled >= 2 + length {
                    break length;
                }
            }
            match stream.read(&mut buffer[filled..]).await? {
                0 => return Ok(()),
                n => filled += n,
            }
        };
        let (done, durable) = oneshot::channel();
        rows.push((buffer[2..2 + length].to_vec(), done));
        durable.await?;
        stream.write_all(&[0; super::telegrams::ACK_BYTES]).await?;
    }
}

fn write(database: &Database, waiting: &Queue) -> anyhow::Result<()> {
    let (mut seq, mut before) = (0u64, 0);
    loop {
        let batch = waiting.take(before);
        before = batch.len();
        let mut transaction = database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        {
            let mut table = transaction.open_table(ROWS)?;
            for (row, _) in &batch {
                seq += 1;
                table.insert(seq, row.as_slice())?;
            }
        }
        transaction.commit()?;
        for (_, done) in batch {
            // The peer may have gone; its row is kept all the same.
            let _ = done.send(());
        }
    }
}
