//! Reading guard lists.

use std::fs::File;

use anyhow::{Context, Result, bail};
use ksn::{
    compile::{Compiler, FeedFile},
    feed::{FeedError, GuardReport, Guards},
};

use crate::cli::output::Plural;

/// Reads guard lists into `compiler`.
///
/// A file of a folder that cannot be read, or most of whose entries are no guards, is reported and passed over; one that
/// cannot be read is an error under `--strict`, and when it was specified.
pub(super) fn read(compiler: &mut Compiler, files: &[FeedFile], is_strict: bool) -> Result<()> {
    for file in files {
        let name = file.path.display().to_string();
        // A folder may hold a README, whose words would be guards: the file is judged before any entry is used.
        match (file.is_named, open(file, &name, |file, name| Guards::default().read(file, name))) {
            (false, Ok(report)) if report.rejected + report.unsupported > report.entries || report.entries == 0 => {
                eprintln!("ksn: {name}: not a guard list: {}; passed over", describe(report));
                continue;
            }
            (false, Err(e)) if !is_strict => {
                eprintln!("ksn: {name}: {e}; passed over");
                continue;
            }
            (_, Err(e)) => bail!("cannot read guards from {name}: {e}"),
            _ => {}
        }
        let report = open(file, &name, |file, name| compiler.guard(file, name));
        let report = report.with_context(|| format!("cannot read guards from {name}"))?;
        if report.unsupported + report.rejected > 0 {
            eprintln!("ksn: {name}: {}", describe(report));
        }
    }
    Ok(())
}

fn open(
    file: &FeedFile,
    name: &str,
    read: impl FnOnce(File, &str) -> Result<GuardReport, FeedError>,
) -> Result<GuardReport, FeedError> {
    read(File::open(&file.path)?, name)
}

fn describe(report: GuardReport) -> String {
    let (guards, skipped) = (Plural(report.entries, "guard"), Plural(report.unsupported + report.rejected, "row"));
    format!("{guards}, skipped {skipped} that cannot be used as guards")
}
