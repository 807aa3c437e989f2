//! Configuration: raw file to resolved values.
