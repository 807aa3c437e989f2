//! A command's life.
