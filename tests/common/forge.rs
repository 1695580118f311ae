//! Forges snapshots: splits one into its parts, lets a test change any of them, and reassembles it with valid
//! checksums.
//!
//! The structures are defined here a second time, from the description of the format, so that an accidental change of
//! the format fails a test.

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
    pub(crate) kind: u8,
    pub(crate) stride: u32,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    pub(crate) blake3: [u8; 32],
}

/// A snapshot split into its parts.
#[derive(Clone, Debug)]
pub(crate) struct Forgery {
    /// The bytes of the header and of the sections.
    pub(crate) body: Vec<u8>,
    pub(crate) manifest: Manifest,
}

#[allow(dead_code, reason = "each test file uses a part")]
impl Forgery {
    pub(crate) fn of(snapshot: &[u8]) -> Self {
        let at = u64::from_le_bytes(snapshot[24..32].try_into().unwrap()) as usize;
        let mut aligned = rkyv::util::AlignedVec::<16>::new();
        aligned.extend_from_slice(&snapshot[at..]);
        let manifest = rkyv::from_bytes::<Manifest, rkyv::rancor::Error>(&aligned)
            .expect("the manifest has the described structure");
        Self { body: snapshot[..at].to_vec(), manifest }
    }

    /// Returns the section of this kind of a table.
    pub(crate) fn section(&mut self, table: u8, kind: u8) -> &mut Section {
        let found = self.manifest.sections.iter_mut().find(|s| (s.table, s.kind) == (table, kind));
        found.unwrap_or_else(|| panic!("there is no section {table}.{kind}"))
    }

    /// Returns the content of a section.
    pub(crate) fn content(&mut self, table: u8, kind: u8) -> &mut [u8] {
        let (offset, bytes) = (self.section(table, kind).offset as usize, self.section(table, kind).bytes as usize);
        &mut self.body[offset..offset + bytes]
    }

    /// Returns the whole file. The checksums are recomputed for every section that lies within it.
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
