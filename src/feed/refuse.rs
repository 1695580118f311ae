//! What is no indicator list, or another tool's language.
//!
//! Each is identified by what only it has (magic bytes, keywords at the start of lines): a list must never be refused
//! here. The order, which [`detect`](super::detect::format) keeps: what the first bytes give away before any
//! reader; other tools' languages when no reader is certain; programs and prose when no reader knows more than that it
//! might be a list, and then only if too few rows hold an indicator (see [`ioc_list`](super::ioc_list)).

use super::{error::Refusal, ioc_list::Census, sample::Sample, yaml};

/// What the first bytes give away: binary data and markup.
pub(super) fn wrapping(sample: &Sample<'_>) -> Option<Refusal> {
    binary(sample.head).or_else(|| markup(sample))
}

fn binary(head: &[u8]) -> Option<Refusal> {
    if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") {
        return Some(Refusal {
            what: "UTF-16 text",
            why: "feeds are read as UTF-8 or Latin-1",
            instead: "convert it, for example with `iconv -f UTF-16 -t UTF-8`",
        });
    }
    if head.starts_with(b"SQLite format 3\0") {
        return Some(Refusal {
            what: "an SQLite database (the NSRL is published as one since version 3)",
            why: "only text is read",
            instead: "export it: `sqlite3 FILE -csv -header 'SELECT DISTINCT sha256, sha1, md5, file_name FROM FILE' > \
                      nsrl.csv`, and read that with `--trusted --columns sha256,sha1,md5,name`",
        });
    }
    let what = MAGICS.iter().find(|(magic, _)| head.starts_with(magic)).map(|&(_, what)| what);
    let what = what.or_else(|| (head.get(257..262) == Some(b"ustar")).then_some("a tar archive"))?;
    Some(Refusal {
        what,
        why: "a feed is a list of indicators in text, not a file to look up",
        instead: "unpack or convert it first; to look a file up, use `ksn scan`",
    })
}

fn markup(sample: &Sample<'_>) -> Option<Refusal> {
    let text = sample.text.trim_start();
    let start: String = text.chars().take(64).collect::<String>().to_ascii_lowercase();
    if start.starts_with("<!doctype html") || start.starts_with("<html") || start.starts_with("<head") {
        return Some(Refusal {
            what: "an HTML page",
            why: "a download that answers with a page has moved, failed or wants a login",
            instead: "open the address in a browser and download the list itself",
        });
    }
    if start.starts_with("<?xml") || start.starts_with("<rss") || start.starts_with("<ioc ") {
        return Some(Refusal {
            what: "an XML document (OpenIOC, an RSS feed, a table)",
            why: "no XML vocabulary is read",
            instead: "take the same list as CSV, STIX 2 or text",
        });
    }
    if text.starts_with("{\\rtf") {
        return Some(Refusal {
            what: "a rich-text document",
            why: "only plain text is read",
            instead: "save it as text",
        });
    }
    None
}

/// The public suffix list, by its own marker (<https://publicsuffix.org/list/>).
pub(super) fn public_suffix_list(sample: &Sample<'_>) -> Option<Refusal> {
    let is_marked =
        ["===BEGIN ICANN DOMAINS===", "===BEGIN PRIVATE DOMAINS==="].iter().any(|m| sample.text.contains(m));
    is_marked.then_some(Refusal {
        what: "the public suffix list",
        why: "it names suffixes below which everybody may register, not bad domains",
        instead: "leave it out: one is compiled in",
    })
}

/// The rule languages of other tools, and their configuration.
pub(super) fn rules(sample: &Sample<'_>) -> Option<Refusal> {
    const LIST: &str = "take the same list as domains, hosts, addresses or URLs: publishers of rules offer these, too";
    let share = |starts: &[&str]| sample.share(|line| starts.iter().any(|start| line.starts_with(start)));
    let suricata = |line: &str| {
        let action = line.split_whitespace().next().unwrap_or_default();
        ["alert", "drop", "reject", "pass", "log", "sdrop", "block"].contains(&action)
            && line.contains("->")
            && line.contains('(')
    };
    if sample.share(suricata) >= 0.5 {
        return Some(Refusal {
            what: "a set of Suricata or Snort rules",
            why: "a rule matches traffic, not a key",
            instead: LIST,
        });
    }
    let zone = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let word = words.next();
        word == Some("CNAME") || word == Some("SOA") || (word == Some("IN") && words.next().is_some())
    };
    if sample.share(zone) >= 0.5
        || (sample.text.contains("$TTL") && sample.lines.iter().any(|line| line.contains(" SOA ")))
    {
        return Some(Refusal {
            what: "an RPZ zone",
            why: "it is a name server's policy, in which triggers, actions and exceptions differ by record",
            instead: LIST,
        });
    }
    if share(&["address=/", "server=/", "local=/", "host-record="]) >= 0.5 {
        return Some(Refusal {
            what: "a dnsmasq configuration",
            why: "it is a name server's configuration",
            instead: LIST,
        });
    }
    if share(&["local-zone:", "local-data:", "server:"]) >= 0.5 {
        return Some(Refusal {
            what: "an Unbound configuration",
            why: "it is a name server's configuration",
            instead: LIST,
        });
    }
    let firewall =
        ["add ", "create ", "-A ", "-I ", "iptables ", "ip route ", "nft ", "deny from ", "Deny from ", "/ip firewall"];
    let server = |line: &str| (line.starts_with("deny ") || line.starts_with("Require ")) && !line.contains('\t');
    if share(&firewall) >= 0.5 || sample.share(server) >= 0.5 {
        return Some(Refusal {
            what: "a firewall's or web server's configuration",
            why: "its commands say more than which addresses are bad",
            instead: "take the plain list of addresses that it was made from",
        });
    }
    let yara = |line: &&str| {
        let mut words = line.split_whitespace();
        let word = words.find(|word| !["private", "global"].contains(word));
        word == Some("rule")
            && words.next().is_some_and(|name| name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic()))
    };
    if sample.lines.iter().any(yara) && sample.lines.iter().any(|line| line.trim_start().starts_with("condition:")) {
        return Some(Refusal {
            what: "a set of YARA rules",
            why: "a rule matches contents, not a key",
            instead: "give it to a scanner that knows YARA",
        });
    }
    if sample.text.contains("\ndetection:") && sample.text.contains("\nlogsource:") {
        return Some(Refusal {
            what: "a Sigma rule",
            why: "a rule matches log events, not a key",
            instead: "give it to a tool that knows Sigma",
        });
    }
    let packages = sample.share(|line| {
        line.split(['.', ',']).count() >= 3
            && ["com.", "org.", "net.", "ru.", "cn.", "air.", "io."].iter().any(|tld| line.starts_with(tld))
    });
    if packages >= 0.5 {
        return Some(Refusal {
            what: "a list of the names of programs (Android packages)",
            why: "such a name is no key: it says nothing about who made a file",
            instead: "take the list of the files' digests or certificates",
        });
    }
    if share(&["| filter ", "| where ", "| fields ", "| dedup ", "| project ", "| search ", "| comp "]) >= 0.5 {
        return Some(Refusal {
            what: "a query of a hunting tool",
            why: "it describes events, not indicators",
            instead: "run it in the tool it was written for",
        });
    }
    None
}

/// JSON that no reader knows: its values stand in lines of their own and would read as a list of whatever they are.
pub(super) fn json(sample: &Sample<'_>) -> Option<Refusal> {
    let text = sample.text.trim_start();
    let inside = text.strip_prefix(['{', '['])?.trim_start();
    let begins = inside.starts_with(['"', '{', '[', ']', '}']) || (inside.is_empty() && sample.lines.len() <= 1);
    // `[section]` opens a list under headings, `[Adblock]` its own format.
    begins.then_some(Refusal {
        what: "a JSON document without indicators in a form that is known",
        why: "which of its values are bad cannot be told",
        instead: "known are MISP events and warninglists, STIX 2 bundles, ThreatFox and Spamhaus DROP; take one of \
                  these, or extract the indicators, one a line",
    })
}

/// Program sources and structured documents that no reader knows.
pub(super) fn program(sample: &Sample<'_>) -> Option<Refusal> {
    let source = Refusal {
        what: "the source of a program",
        why: "addresses and digests in it are examples, tests or messages",
        instead: "leave it out",
    };
    let (mut rows, mut ends, mut words) = (0u32, 0u32, 0u32);
    for line in sample.lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty() && !line.starts_with("//")) {
        rows += 1;
        ends += u32::from(line.ends_with(['{', '}', ';', '(', ')', ':', ',']));
        words += u32::from(KEYWORDS.iter().any(|word| line.starts_with(word)));
    }
    // A CSV may end its rows in empty cells and have a word or two in their first column.
    if sample.text.starts_with("#!/") || (words >= 2 && words * 200 >= rows && ends * 2 >= rows) {
        return Some(source);
    }
    if yaml::is_document(sample) {
        return Some(Refusal {
            what: "a YAML document",
            why: "it has no list of indicators under a word for their type (certificates, domains, ips, sha256)",
            instead: "take the lists that are made from it (CSV, hosts, domains)",
        });
    }
    None
}

/// Reports and readmes.
pub(super) fn prose(sample: &Sample<'_>) -> Option<Refusal> {
    let report = |what| {
        Some(Refusal {
            what,
            why: "it tells of indicators among other things, and which of its addresses are bad cannot be told apart",
            instead: "take the list that belongs to it, or copy the indicators to a file of their own, one a line",
        })
    };
    let title = |line: &&str| {
        let rest = line.trim_start_matches('=');
        // `== Domains ==` closes what it opens: a heading of other texts.
        rest.len() < line.len()
            && rest.starts_with(' ')
            && rest.trim().starts_with(char::is_alphanumeric)
            && !rest.trim_end().ends_with('=')
    };
    let table = |line: &&str| line.starts_with("|===") || line.starts_with(":toc:");
    let first = sample.lines.iter().find(|line| !line.trim().is_empty());
    if first.is_some_and(title) || sample.lines.iter().any(table) {
        return report("a report in AsciiDoc");
    }
    let census = Census::of(sample);
    if census.is_empty() || census.is_list() {
        return None;
    }
    // Not a table, and not the rows of a format that nobody knows: words, in sentences or headings.
    let words = |line: &str| {
        let words = line
            .split_whitespace()
            .filter(|word| word.chars().all(|c| c.is_alphabetic() || ".,:;()'’\"-!?".contains(c)));
        words.count() >= 3 && line.matches([',', ';', '\t', '|', '"']).count() <= 4
    };
    if sample.share(words) >= 0.3 && !sample.text.trim_start().starts_with(['{', '[', '"']) {
        return report("a text, not a list");
    }
    None
}

const MAGICS: [(&[u8], &str); 16] = [
    (b"MZ", "a Windows program"),
    (b"\x7fELF", "a program"),
    (b"\xcf\xfa\xed\xfe", "a program of macOS"),
    (b"\xca\xfe\xba\xbe", "a program of macOS or Java"),
    (b"%PDF-", "a PDF document"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Office document or an installer"),
    (b"\x89PNG", "a picture"),
    (b"GIF8", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"\xfd7zXZ\0", "an xz archive"),
    (b"BZh", "a bzip2 archive"),
    (b"MSCF", "a cabinet archive"),
    (b"ClamAV-VDB:", "a ClamAV container (.cvd); its databases come out with `sigtool --unpack`"),
    (b"PAR1", "a Parquet table"),
];

/// Starts of lines that programs have and lists have not.
const KEYWORDS: [&str; 24] = [
    "package ",
    "import ",
    "import (",
    "func ",
    "function ",
    "var ",
    "let ",
    "const ",
    "def ",
    "class ",
    "#include",
    "using ",
    "public ",
    "private ",
    "return ",
    "for (",
    "if (",
    "fn ",
    "use ",
    "type ",
    "while (",
    "} else",
    "from ",
    "try {",
];

#[cfg(test)]
mod tests;
