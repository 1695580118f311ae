//! The properties that the fuzz targets check. They are those of `tests/fuzz_regressions.rs`, which replays seeds and
//! past crashes in a plain `cargo test`.
//!
//! ```text
//! cargo +nightly fuzz run engine fuzz/corpus/engine fuzz/seeds/engine -- -max_total_time=60
//! ```
//!
//! An input that breaks a property is minimised (`cargo +nightly fuzz tmin`) and kept in `fuzz/regressions/<target>`.
//! The seeds are made up by `tests/common/seeds.rs`.

#[path = "../../tests/common/ask.rs"]
mod ask;
#[path = "../../tests/common/forge.rs"]
mod forge;
#[path = "../../tests/common/fuzzed.rs"]
mod fuzzed;
#[path = "../../tests/common/naive.rs"]
mod naive;

macro_rules! targets {
    ($($name:ident)*) => {
        $(
            /// The property of the target of this name.
            pub fn $name(data: &[u8]) {
                fuzzed::$name(data);
            }
        )*
    };
}

targets! { engine key_text snapshot_open web_address wire_answer wire_request }

#[cfg(feature = "feed")]
targets! { feeds }
