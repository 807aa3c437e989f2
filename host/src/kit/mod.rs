//! What an adapter's author needs.
