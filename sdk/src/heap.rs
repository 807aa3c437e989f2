//! The guest's heap: free lists by power of two, because a decode is a dozen small allocations and nothing else.
//!
//! Guests have one thread, live in at most a few megabytes and repeat the same pattern for every frame, so blocks are never
//! split or merged: freeing and allocating are a handful of instructions each, several times fewer than in the target's
//! general allocator. The worst case is twice the peak of every size. Besides the generated bindings this is the only
//! `unsafe` of the SDK; an adapter has none.
#![allow(unsafe_code)]

use core::alloc::{GlobalAlloc, Layout};
use core::arch::wasm32;
use core::cell::UnsafeCell;
use core::ptr::null_mut;

const PAGE: usize = 64 * 1024;
/// Smallest block, 16 bytes; the largest, 2^31, is never reached: the station's limit is far below.
const LEAST_SHIFT: u32 = 4;
const CLASSES: usize = 28;

struct Heap(UnsafeCell<State>);

struct State {
    /// First free block of each class; a free block's first word is the next one.
    free: [*mut u8; CLASSES],
    /// Memory that was never handed out.
    next: usize,
    end: usize,
}

// SAFETY: wasm32-unknown-unknown without atomics has one thread, and no method calls back into the allocator.
unsafe impl Sync for Heap {}

#[global_allocator]
static HEAP: Heap = Heap(UnsafeCell::new(State { free: [null_mut(); CLASSES], next: 0, end: 0 }));

/// Class of a block that holds `layout` at its alignment; a block of 2^n bytes is aligned to min(2^n, 64 KiB).
#[inline]
fn class(layout: Layout) -> usize {
    let bytes = layout.size().max(layout.align()).max(1 << LEAST_SHIFT);
    (usize::BITS - (bytes - 1).leading_zeros() - LEAST_SHIFT) as usize
}

impl State {
    /// Cuts a block off the untouched memory, growing it by whole pages. Null: the station refuses more.
    #[cold]
    fn carve(&mut self, class: usize) -> *mut u8 {
        let bytes = 1_usize << (class as u32 + LEAST_SHIFT);
        let start = self.next.next_multiple_of(bytes.min(PAGE));
        if start + bytes > self.end || self.end == 0 {
            let pages = bytes.div_ceil(PAGE);
            let grown = wasm32::memory_grow::<0>(pages);
            if grown == usize::MAX {
                return null_mut();
            }
            // Only this allocator grows the memory, so new pages follow the old ones; what is left of those stays usable.
            if grown * PAGE != self.end {
                self.next = grown * PAGE;
            }
            self.end = (grown + pages) * PAGE;
            return self.carve(class);
        }
        self.next = start + bytes;
        start as *mut u8
    }
}

// SAFETY: every block is handed out once until it is given back, has at least the layout's size and its alignment, and
// lies in memory that was grown before.
unsafe impl GlobalAlloc for Heap {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let class = class(layout);
        // SAFETY: one thread, no reentrance.
        let state = unsafe { &mut *self.0.get() };
        let Some(head) = state.free.get_mut(class) else { return null_mut() };
        if head.is_null() {
            return state.carve(class);
        }
        let block = *head;
        // SAFETY: a free block's first word is the next free block or null.
        *head = unsafe { block.cast::<*mut u8>().read() };
        block
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: one thread, no reentrance.
        let state = unsafe { &mut *self.0.get() };
        if let Some(head) = state.free.get_mut(class(layout)) {
            // SAFETY: the block is ours again, and at least 16 bytes long.
            unsafe { block.cast::<*mut u8>().write(*head) };
            *head = block;
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Ok(wanted) = Layout::from_size_align(new_size, layout.align()) else { return null_mut() };
        if class(wanted) == class(layout) {
            return block;
        }
        // SAFETY: as the caller promised for `block`; the new block is another one and long enough.
        unsafe {
            let moved = self.alloc(wanted);
            if !moved.is_null() {
                core::ptr::copy_nonoverlapping(block, moved, layout.size().min(new_size));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}
