//! What the unit needs of a microcontroller.

use std::mem::size_of;
use wtcu::{IMAGE_BYTES, Terminal, Wtcu};

/// Nothing grows at run time, so these are the numbers for a linker script.
#[test]
fn it_fits_a_small_one() {
    let (terminal, unit) = (size_of::<Terminal>(), size_of::<Wtcu>());
    println!("terminal {terminal} bytes, unit {unit} bytes, image 2 x {IMAGE_BYTES} bytes");
    assert!(terminal <= 5 * 1024, "{terminal}");
    assert!(unit <= 8 * 1024, "{unit}");
}

/// `make firmware` proves it by compiling for a target that has neither; this tells it earlier.
#[test]
fn it_names_neither_heap_nor_standard_library() {
    let src = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    for entry in std::fs::read_dir(src).expect("sources").flatten() {
        let text = std::fs::read_to_string(entry.path()).expect("a source");
        for word in ["std::", "alloc::", "extern crate"] {
            assert!(!text.contains(word), "{} says `{word}`", entry.path().display());
        }
    }
}
