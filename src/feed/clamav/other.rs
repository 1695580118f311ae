//! ClamAV databases without lookup keys.

use super::signature::{Signature, is_size, official_id};
use crate::feed::{
    error::Refusal,
    sample::{Sample, is_object_hash},
};

/// Returns the refusal if a sample is another ClamAV database.
pub(in crate::feed) fn refuse(sample: &Sample<'_>) -> Option<Refusal> {
    if sample.head.starts_with(b"ClamAV-VDB:") {
        return Some(CONTAINER);
    }
    let most = |predicate: fn(&str) -> bool| sample.share(predicate) > 0.8;
    if most(is_section_hash) {
        Some(SECTION_HASHES)
    } else if sample.named(&[".imp"]) && most(|line| Signature::parse(line).is_ok()) {
        // Only the name distinguishes them from hashes of files.
        Some(IMPORT_HASHES)
    } else if most(is_display_rule) {
        Some(DISPLAY_RULES)
    } else if most(is_extended) {
        Some(BODY)
    } else if most(is_logical) {
        Some(LOGICAL)
    } else if most(is_container_metadata) {
        Some(CONTAINER_METADATA)
    } else if most(is_signature_name) {
        Some(IGNORED_SIGNATURES)
    } else {
        None
    }
}

/// Returns the refusal if a line belongs to another database, for files read as the wrong format.
pub(super) fn refuse_line(line: &str) -> Option<Refusal> {
    [(is_section_hash as fn(&str) -> bool, SECTION_HASHES), (is_display_rule, DISPLAY_RULES)]
        .into_iter()
        .find_map(|(is, refusal)| is(line).then_some(refusal))
}

const FILE_HASHES: &str = "use the hashes of whole files (.hdb, .hsb)";

const CONTAINER: Refusal = Refusal {
    what: "a ClamAV database container (.cvd, .cld)",
    why: "its lists are compressed inside",
    instead: "unpack it with `sigtool --unpack FILE` and read the .hdb, .hsb, .fp, .sfp, .crb and .gdb files",
};

const SECTION_HASHES: Refusal = Refusal {
    what: "a ClamAV list of PE section hashes (.mdb, .msb)",
    why: "a section is a part of a file, and its hash matches no whole file",
    instead: FILE_HASHES,
};

const IMPORT_HASHES: Refusal = Refusal {
    what: "a ClamAV list of import table hashes (.imp)",
    why: "many files share an import table, and its hash matches no file",
    instead: FILE_HASHES,
};

const DISPLAY_RULES: Refusal = Refusal {
    what: "a ClamAV list of phishing rules (.pdb, .wdb)",
    why: "they compare a link with its displayed text, and name the imitated sites",
    instead: "use a list of phishing URLs",
};

const BODY: Refusal =
    Refusal { what: "a ClamAV list of body signatures (.ndb)", why: "they match parts of files", instead: FILE_HASHES };

const LOGICAL: Refusal = Refusal {
    what: "a ClamAV list of logical signatures (.ldb)",
    why: "they match parts of files",
    instead: FILE_HASHES,
};

const CONTAINER_METADATA: Refusal = Refusal {
    what: "a ClamAV list of container signatures (.cdb)",
    why: "they match the members of archives by their metadata",
    instead: FILE_HASHES,
};

const IGNORED_SIGNATURES: Refusal = Refusal {
    what: "a list of ClamAV signature names (.ign, .ign2)",
    why: "it disables signatures and identifies no file",
    instead: "remove those names from the lists they come from",
};

/// `Size or *:Hash:Name`.
fn is_section_hash(line: &str) -> bool {
    let mut fields = line.split(':');
    let (size, hash, name) = (fields.next(), fields.next(), fields.next());
    size.is_some_and(is_size) && hash.is_some_and(is_object_hash) && name.is_some_and(|name| !name.is_empty())
}

/// `R:`, `H:` (.pdb), `X:`, `Y:` or `M:` (.wdb), with flags in older databases.
fn is_display_rule(line: &str) -> bool {
    let Some((mark, rest)) = line.split_once(':') else { return false };
    let flags = mark.strip_prefix(['R', 'H', 'X', 'Y', 'M']);
    flags.is_some_and(|flags| flags.bytes().all(|b| b.is_ascii_hexdigit()))
        && !rest.is_empty()
        && !rest.starts_with('\\')
}

/// `Name:TargetType:Offset:HexSignature[:minFL[:maxFL]]`.
fn is_extended(line: &str) -> bool {
    let fields: Vec<_> = line.split(':').take(4).collect();
    let [name, target, offset, body] = fields[..] else { return false };
    let is_body = |b: u8| b.is_ascii_hexdigit() || b"?*{}-()|!@[]LWBa".contains(&b);
    !name.is_empty()
        && (1..=2).contains(&target.len())
        && target.bytes().all(|b| b.is_ascii_digit())
        && (offset == "*" || offset.starts_with(|c: char| c.is_ascii_digit() || c.is_ascii_uppercase()))
        && body.len() >= 8
        && body.bytes().all(is_body)
}

/// `Name;Engine:…,Target:…;Expression;Subsignature…`.
fn is_logical(line: &str) -> bool {
    line.split(';').nth(1).is_some_and(|target| target.contains("Target:"))
}

/// `Name:CL_TYPE_…:…`.
fn is_container_metadata(line: &str) -> bool {
    line.split(':').nth(1).is_some_and(|kind| kind.starts_with("CL_TYPE_")) && line.matches(':').count() >= 9
}

fn is_signature_name(line: &str) -> bool {
    let name = line.split_once(':').map_or(line, |(name, _)| name);
    official_id(name).is_some()
}
