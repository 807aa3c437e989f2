//! The null station: accept, read a length and that many bytes, append them to redb, acknowledge after the commit.
//!
//! The same shape as the station's journal (one writer thread, group commit, immediate durability) and nothing of
//! what the journal is for: no decoding, no hash chain, no views, no sessions.

use redb::{Database, Durability, TableDefinition};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

const ROWS: TableDefinition<u64, &[u8]> = TableDefinition::new("rows");
const COMMIT_ROWS_MAX: usize = polymeter::limits::COMMIT_ENTRIES_MAX;

type Row = (Vec<u8>, oneshot::Sender<()>);

/// Serves until killed; prints its address first.
pub fn run(data: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(data)?;
    let database = Database::create(data.join("null.redb"))?;
    let (rows, waiting) = sync_channel(polymeter::limits::JOURNAL_QUEUE_MAX);
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

async fn serve(mut stream: TcpStream, rows: SyncSender<Row>) -> anyhow::Result<()> {
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
        rows.send((buffer[2..2 + length].to_vec(), done))?;
        durable.await?;
        stream.write_all(&[0; super::telegrams::ACK_BYTES]).await?;
    }
}

fn write(database: &Database, waiting: &Receiver<Row>) -> anyhow::Result<()> {
    let mut seq = 0u64;
    while let Ok(first) = waiting.recv() {
        let mut batch = vec![first];
        batch.extend(waiting.try_iter().take(COMMIT_ROWS_MAX - 1));
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
        let busy = batch.len() >= polymeter::limits::COMMIT_GATHER_FROM;
        for (_, done) in batch {
            // The peer may have gone; its row is kept all the same.
            let _ = done.send(());
        }
        if busy {
            std::thread::sleep(polymeter::limits::COMMIT_GATHER);
        }
    }
    Ok(())
}
