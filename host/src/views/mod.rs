//! Folds over the journal.
