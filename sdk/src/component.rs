//! From an [`Adapter`](crate::Adapter) to the contract's exports.

/// Holds the configured adapter of an instance. Guests have one thread, so this is a plain static there.
#[doc(hidden)]
pub type Cell<A> = std::cell::OnceCell<A>;

/// Makes the crate a component around the given [`Adapter`](crate::Adapter). `adapter!(Type, upgrade)` also exports what the type
/// says as an [`Upgrade`](crate::Upgrade).
///
/// Expands to nothing but a type check natively, so that the same crate (crate-type `cdylib` and `rlib`) is tested there. On
/// wasm32 it emits the contract's exports; the generated `unsafe` of the calling convention is inside this expansion and
/// nowhere in the author's code.
#[macro_export]
macro_rules! adapter {
    ($adapter:ty) => {
        $crate::adapter!(@component $adapter, {});
    };
    ($adapter:ty, upgrade) => {
        const _: fn(&$adapter, u32, &[u8]) -> ::std::option::Option<::std::vec::Vec<u8>> =
            <$adapter as $crate::Upgrade>::upgrade_state;

        $crate::adapter!(@component $adapter, {
            use $crate::bindings::upgrading::exports::polymeter::adapter::upgrade::Guest as Upgrading;

            impl Upgrading for Component {
                fn upgrade_state(
                    from: u32,
                    state: ::std::vec::Vec<u8>,
                ) -> ::std::option::Option<::std::vec::Vec<u8>> {
                    ADAPTER.with(|cell| $crate::Upgrade::upgrade_state(cell.get()?, from, &state))
                }
                fn upgrade_memory(
                    from: u32,
                    memory: ::std::vec::Vec<u8>,
                ) -> ::std::option::Option<::std::vec::Vec<u8>> {
                    ADAPTER.with(|cell| $crate::Upgrade::upgrade_memory(cell.get()?, from, &memory))
                }
            }

            $crate::__macro::export_upgrade!(Component with_types_in $crate::bindings::upgrading);
        });
    };
    (@component $adapter:ty, { $($more:item)* }) => {
        const _: fn(&str) -> ::std::result::Result<$adapter, ::std::string::String> =
            <$adapter as $crate::Adapter>::configure;

        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, clippy::all, clippy::pedantic)]
        mod __component {
            use super::*;
            use $crate::bindings::{Guest as World, exports::polymeter::adapter::codec::Guest as Codec};

            struct Component;

            ::std::thread_local! {
                static ADAPTER: $crate::__macro::Cell<$adapter> = const { $crate::__macro::Cell::new() };
            }

            impl World for Component {
                fn configure(profile: ::std::string::String) -> ::std::result::Result<(), ::std::string::String> {
                    let adapter = <$adapter as $crate::Adapter>::configure(&profile)?;
                    ADAPTER.with(|cell| cell.set(adapter)).map_err(|_| "this instance is configured already".into())
                }
            }

            impl Codec for Component {
                fn frame(received: ::std::vec::Vec<u8>) -> $crate::Framing {
                    ADAPTER.with(|cell| match cell.get() {
                        Some(adapter) => $crate::Adapter::frame(adapter, &received),
                        None => $crate::Framing::Foreign,
                    })
                }
                fn decode(
                    context: $crate::Context,
                    frame: ::std::vec::Vec<u8>,
                ) -> ::std::result::Result<$crate::Decoded, $crate::Fault> {
                    ADAPTER.with(|cell| match cell.get() {
                        Some(adapter) => $crate::Adapter::decode(adapter, &context, &frame),
                        None => Err($crate::Fault::unsupported("decode was called before configure")),
                    })
                }
                fn encode(
                    context: $crate::Context,
                    command: $crate::Command,
                ) -> ::std::result::Result<$crate::Encoded, $crate::Fault> {
                    ADAPTER.with(|cell| match cell.get() {
                        Some(adapter) => $crate::Adapter::encode(adapter, &context, &command),
                        None => Err($crate::Fault::unsupported("encode was called before configure")),
                    })
                }
            }

            $crate::__macro::export!(Component with_types_in $crate::bindings);

            $($more)*
        }
    };
}
