//! MISP: events of a feed, and warninglists.

pub(super) mod event;
pub(super) mod warninglist;
