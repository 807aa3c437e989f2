//! The contract as Rust, generated from `wit/` at compile time. The only place of this crate with `unsafe`: the generated
//! calling convention. Public only for what `adapter!` expands to; everything meant for authors is re-exported by name in
//! `lib.rs`.
#![allow(unsafe_code, missing_docs, clippy::all, clippy::pedantic)]

wit_bindgen::generate!({
    path: "../wit",
    world: "adapter",
    pub_export_macro: true,
    default_bindings_module: "polymeter_sdk::bindings",
    additional_derives: [PartialEq, Eq],
    generate_unused_types: true,
});

/// Its optional part, exported by those that ask for it.
pub mod upgrading {
    wit_bindgen::generate!({
        path: "../wit",
        world: "upgrading",
        pub_export_macro: true,
        export_macro_name: "export_upgrade",
        default_bindings_module: "polymeter_sdk::bindings::upgrading",
    });
}
