//! Builds all parts; start and drain order.
