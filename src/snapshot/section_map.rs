//! The position of every section, checked once.

use std::ops::Range;

use super::{
    error::OpenError,
    layout::{SectionKind, Table},
    manifest::{Header, Manifest, SECTION_ALIGNMENT, SectionEntry},
};

/// The position of each section in a file or in memory; a section that does not exist is empty.
pub(super) struct SectionMap([[(usize, usize); SECTION_KINDS]; TABLES]);

const TABLES: usize = 13;
const SECTION_KINDS: usize = 12;

impl SectionMap {
    pub(super) fn empty() -> Self {
        Self([[(0, 0); SECTION_KINDS]; TABLES])
    }

    /// Checks that every section of a manifest is known, lies between header and manifest and overlaps no other, and
    /// that nothing else does. Returns the positions in the file, and the gaps, which MUST be zero.
    pub(super) fn of(manifest: &Manifest, manifest_offset: usize) -> Result<(Self, Vec<Range<usize>>), OpenError> {
        let (mut sections, mut gaps) = (Self::empty(), Vec::new());
        let mut end = size_of::<Header>();
        let mut by_offset: Vec<&SectionEntry> = manifest.sections.iter().collect();
        by_offset.sort_by_key(|s| s.offset);
        for section in by_offset {
            let (table, kind) = Table::from_number(section.table)
                .zip(SectionKind::from_number(section.kind))
                .ok_or_else(|| OpenError::invalid(format!("section {}.{} is unknown", section.table, section.kind)))?;
            let bad = |what: &str| OpenError::invalid(format!("the section {kind:?} of {table:?} {what}"));
            let stride = kind.stride(table).ok_or_else(|| bad("is not allowed in that table"))?;
            if section.stride != stride || section.bytes % u64::from(stride) != 0 || section.bytes == 0 {
                return Err(bad(&format!(
                    "has {} bytes with a row size of {}, expected rows of {stride}",
                    section.bytes, section.stride
                )));
            }
            let range = usize::try_from(section.offset)
                .ok()
                .zip(usize::try_from(section.bytes).ok())
                .and_then(|(offset, bytes)| Some((offset, offset.checked_add(bytes)?)));
            let Some((start, section_end)) = range.filter(|&(_, end)| end <= manifest_offset) else {
                return Err(bad("extends past the start of the manifest"));
            };
            if start % SECTION_ALIGNMENT as usize != 0 {
                return Err(bad("does not start at a multiple of 64"));
            }
            if start < end {
                return Err(bad("overlaps another section"));
            }
            if start - end >= SECTION_ALIGNMENT as usize {
                return Err(bad("is preceded by bytes of no section"));
            }
            if sections.get(table, kind).1 != 0 {
                return Err(bad("occurs twice"));
            }
            sections.set(table, kind, (start, section_end - start));
            gaps.push(end..start);
            end = section_end;
        }
        if manifest_offset - end >= SECTION_ALIGNMENT as usize {
            return Err(OpenError::invalid("the manifest is preceded by bytes of no section"));
        }
        gaps.push(end..manifest_offset);
        Ok((sections, gaps))
    }

    /// Returns the offset and the length of a section in bytes.
    #[inline]
    pub(super) fn get(&self, table: Table, kind: SectionKind) -> (usize, usize) {
        self.0[usize::from(table.number())][kind as usize]
    }

    pub(super) fn set(&mut self, table: Table, kind: SectionKind, section: (usize, usize)) {
        self.0[usize::from(table.number())][kind as usize] = section;
    }
}
