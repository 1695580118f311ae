//! Forges snapshots: takes one apart, lets a test change anything, and puts it together again with checksums that fit.
//!
//! The structures are written down here a second time, from the description of the format, so that a change of the
//! format by mistake is noticed.

use rkyv::{Archive, Deserialize, Serialize};

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct Manifest {
    pub(crate) dataset: String,
    pub(crate) generation: u64,
    pub(crate) created: u32,
    pub(crate) key_range: (u32, u32),
    pub(crate) web_seed: u64,
    pub(crate) web_scopes: u8,
    pub(crate) sources: Vec<Source>,
    pub(crate) compiled_with: Vec<(String, String)>,
    pub(crate) sections: Vec<Section>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) records: u64,
    pub(crate) newest: u32,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct Section {
    pub(crate) table: u8,
    pub(crate) role: u8,
    pub(crate) stride: u32,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    pub(crate) blake3: [u8; 32],
}

/// A snapshot taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Forgery {
    /// Header and sections.
    pub(crate) body: Vec<u8>,
    pub(crate) manifest: Manifest,
}

impl Forgery {
    pub(crate) fn of(snapshot: &[u8]) -> Self {
        let at = u64::from_le_bytes(snapshot[24..32].try_into().unwrap()) as usize;
        let mut aligned = rkyv::util::AlignedVec::<16>::new();
        aligned.extend_from_slice(&snapshot[at..]);
        let manifest =
            rkyv::from_bytes::<Manifest, rkyv::rancor::Error>(&aligned).expect("the manifest is as described");
        Self { body: snapshot[..at].to_vec(), manifest }
    }

    /// The section of a table in a role.
    pub(crate) fn section(&mut self, table: u8, role: u8) -> &mut Section {
        let found = self.manifest.sections.iter_mut().find(|s| (s.table, s.role) == (table, role));
        found.unwrap_or_else(|| panic!("there is a section {table}.{role}"))
    }

    /// The content of a section.
    pub(crate) fn content(&mut self, table: u8, role: u8) -> &mut [u8] {
        let (offset, bytes) = (self.section(table, role).offset as usize, self.section(table, role).bytes as usize);
        &mut self.body[offset..offset + bytes]
    }

    /// The whole file, with every checksum that can be made to fit.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        for section in &mut self.manifest.sections {
            let range = section.offset as usize..(section.offset as usize).saturating_add(section.bytes as usize);
            if let Some(content) = self.body.get(range) {
                section.blake3 = *blake3::hash(content).as_bytes();
            }
        }
        let manifest = rkyv::to_bytes::<rkyv::rancor::Error>(&self.manifest).unwrap();
        let mut bytes = self.body;
        let offset = bytes.len() as u64;
        bytes.extend_from_slice(&manifest);
        let whole = bytes.len() as u64;
        bytes[16..24].copy_from_slice(&whole.to_le_bytes());
        bytes[24..32].copy_from_slice(&offset.to_le_bytes());
        bytes[32..36].copy_from_slice(&(manifest.len() as u32).to_le_bytes());
        seal(&mut bytes, offset as usize);
        bytes
    }
}

/// Recomputes the root over the header and the manifest, which starts at `manifest`.
pub(crate) fn seal(bytes: &mut [u8], manifest: usize) {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&bytes[..96]);
    hasher.update(&bytes[manifest..]);
    let root = hasher.finalize();
    bytes[96..128].copy_from_slice(root.as_bytes());
}
