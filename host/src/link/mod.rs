//! Sockets to bytes.
