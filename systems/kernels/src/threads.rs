//! Chunks on a lent pool. Invariant: which chunk runs where or when never matters, because chunks are disjoint and
//! cut by the data's shape. Source: plain work sharing over an atomic counter.

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use crate::field::Threads;

/// Calls `work(0) … work(n_chunks − 1)`, each once, on whatever threads there are.
pub(crate) fn for_each_chunk(threads: Threads<'_>, n_chunks: usize, work: impl Fn(usize) + Sync) {
    match threads {
        Threads::Pool(pool) if n_chunks > 1 && pool.current_num_threads() > 1 => {
            let next = AtomicUsize::new(0);
            pool.broadcast(|_| {
                loop {
                    let chunk = next.fetch_add(1, Ordering::Relaxed);
                    if chunk >= n_chunks {
                        break;
                    }
                    work(chunk);
                }
            });
        }
        _ => (0..n_chunks).for_each(work),
    }
}

/// The results of `work(0) … work(n_chunks − 1)`, in that order.
pub(crate) fn map_chunks<R: Send>(
    threads: Threads<'_>,
    n_chunks: usize,
    work: impl Fn(usize) -> R + Sync,
) -> Vec<R> {
    match threads {
        Threads::Pool(pool) if n_chunks > 8 && pool.current_num_threads() > 1 => {
            pool.install(|| (0..n_chunks).into_par_iter().map(&work).collect())
        }
        _ => (0..n_chunks).map(work).collect(),
    }
}
