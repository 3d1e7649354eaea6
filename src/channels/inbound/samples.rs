//! Bodies that tests share.
