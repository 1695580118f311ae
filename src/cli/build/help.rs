//! The long help texts of `ksn build`.

use ksn::feed::Format;

pub(super) const EXAMPLES: &str = "\
A file named on the command line that is not a feed is an error, and nothing is written; one found in a directory is \
skipped and reported. The same feeds with the same --created produce the same bytes, in any order.

Exit codes: 0 written; 2 an error; 3 too few records (a feed whose rows give none, a snapshot without records, \
--min-records, --max-shrink). With 2 and 3 nothing is written.

Examples:
  ksn build -o records.ksn feeds/
  ksn build -o records.ksn --config feeds.toml
  ksn build -o records.ksn --guard top-sites.json --max-age 90d urlhaus.csv threatfox.json.gz
  ksn build -o good.ksn --trusted --source our-software --format csv --columns hash,name list.csv
  curl -s https://feed.example/list.txt | ksn build -o records.ksn -";

/// The columns of a CSV file, with what they hold.
const COLUMNS: [(&str, &str); 21] = [
    ("key", "an indicator: of the kind in the column `type`, else of the kind that it looks like"),
    ("type", "the kind of the key: md5, sha256, domain, url, ip:port, ..."),
    ("hash", "a hash of a file: MD5, SHA-1 or SHA-256 by its length"),
    ("blake3", "the BLAKE3 digest of a file"),
    ("certificate", "the fingerprint of a certificate: MD5, SHA-1 or SHA-256 by its length"),
    ("spki", "the digest of a public key (SubjectPublicKeyInfo): SHA-1 or SHA-256 by its length"),
    ("url", "a web address: exactly that one"),
    ("domain", "a host name with its subdomains"),
    ("host", "a host name without its subdomains"),
    ("ip", "an IPv4 address, block or range, with or without a port"),
    ("port", "the port of the address"),
    ("name", "the detection name"),
    ("time", "when the entry was made or last changed"),
    ("expiry", "when the entry expires"),
    ("id", "the feed's own number of the record"),
    ("confidence", "the feed's confidence in percent, for --min-confidence"),
    ("score", "the number of lists or the severity, for --min-score"),
    ("record-type", "the record type: malware, botnet-cc, phishing, ..."),
    ("status", "a verdict: one that the entry is good (benign, clean, false positive) withholds the row"),
    ("to-ids", "whether the entry is meant for detection: 0 and false withhold the row"),
    ("-", "anything else: the column is not used"),
];

const SOURCES: &str = "\
Sources: a record names the feed that it is from, as its source. The format of one publisher names itself (urlhaus, \
threatfox-csv); MISP events are named by their Orgc, STIX indicators by the identity that created them; any other list by \
its file name, or by its path below the directory that it was found in, without list endings and a date at the end \
(`lists/bad-2026-11-22.txt.gz` is `bad`); standard input by its format.";

const CONFIG: &str = "\
Config file (--config): one table a feed. Only `path` is required: a file, a directory or a pattern (`*`, `?`, `[ab]`, \
`**` for directories), relative to the config file. A file that several tables match is described by the first.

  [[feed]]
  path = \"lists/*.csv\"
  source = \"our-lists\"                    # the source of the records
  format = \"csv\"                          # instead of detecting it
  columns = [\"time\", \"hash\", \"name\", \"-\"]
  type = \"phishing\"                       # the record type, instead of the feed's own
  confidence = 70                         # of records that have none, in percent
  expiry = \"30d\"                          # after a record's time, or a time
  min-records = 1000                      # write nothing if it gives fewer

  [[feed]]
  path = \"our-software.txt\"
  trust = \"trusted\"                       # known good; \"guard\" for a guard list";

/// Returns what `--help` prints after the options.
pub(super) fn long() -> String {
    let columns: Vec<_> = COLUMNS.iter().map(|(name, what)| format!("  {name:<12} {what}")).collect();
    format!("CSV columns (--columns):\n{}\n\n{SOURCES}\n\n{CONFIG}\n\n{EXAMPLES}", columns.join("\n"))
}

/// Returns the help of `--format`.
pub(super) fn formats() -> String {
    let names: Vec<_> = Format::ALL.iter().map(|format| format.name()).collect();
    format!("Read feeds of the command line as this format instead of detecting it: {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use ksn::feed::CsvColumn;

    use super::*;

    #[test]
    fn all_csv_columns_are_documented() {
        // The error lists the names of all columns.
        let error = "no column".parse::<CsvColumn>().unwrap_err().to_string();
        let listed = error.strip_prefix("expected one of ").unwrap().split_once(", found").unwrap().0;
        let mut listed: Vec<_> = listed.split(", ").collect();
        let mut documented = COLUMNS.map(|(name, _)| name);
        listed.sort_unstable();
        documented.sort_unstable();
        assert_eq!(listed, documented);
        let readme = include_str!("../../../README.md");
        for (name, _) in COLUMNS {
            assert!(readme.contains(&format!("| `{name}` |")), "README.md does not document the column {name}");
        }
    }
}
