//! Row 7: prefixes of eight bytes, which the client verifies, against whole digests.

use crate::{Outcome, world::World};

pub(crate) fn run(_: &mut World) -> Outcome {
    Err("the client cannot ask for prefixes".into())
}
