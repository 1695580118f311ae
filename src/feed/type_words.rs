//! The words that feeds use for the type of an indicator, in one table for all readers.
//!
//! Publishers write the same type in many ways (`ip-dst`, `IPv4-Addr`, `ip_address`, `FileHash-SHA256`, `md5_hash`), so
//! a word is looked up by its letters and digits alone, in lower case. The table holds the words of MISP, STIX and
//! OpenCTI, OTX, ThreatFox, TweetFeed, CrowdStrike, CrowdSec, AbuseIPDB and of the lists that vendors publish; known
//! types for which no record can exist each have their reason.

use super::value::{self, ValueError, WithPort};
use crate::key::{self, DigestKind, Indicator, Scope};

/// The type of an indicator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TypeWord {
    /// A hash of a file, by its length.
    Hash,
    /// A digest of one kind.
    Digest(DigestKind),
    /// A file's name and its digest, separated by `|`.
    NamedDigest(DigestKind),
    /// A certificate's fingerprint, by its length.
    Certificate,
    /// A digest of a public key, by its length.
    PublicKey,
    /// A URL.
    Url,
    /// A URL, or a path without a host.
    Uri,
    /// A URL; as the heading of a column or as a key of a document, rather a reference.
    Link,
    /// A name with its subdomains.
    Domain,
    /// A name without its subdomains.
    Host,
    /// A name and a port, separated by `|` or `:`.
    HostPort,
    /// A name and an address that it resolved to, separated by `|`.
    DomainIp,
    /// An IPv4 address, block or range, with or without a port.
    Ip,
    /// An IPv4 address and a port, separated by `|` or `:`.
    IpPort,
    /// No record can exist; the reason, with its article.
    Unsupported(&'static str),
}

use TypeWord::{
    Certificate, Digest, Domain, DomainIp, Hash, Host, HostPort, Ip, IpPort, Link, NamedDigest, PublicKey, Unsupported,
    Uri, Url,
};

impl TypeWord {
    /// Returns the type that a word names; `None` for an unknown word.
    pub(super) fn of(word: &str) -> Option<Self> {
        let mut buffer = [0; WORD_BYTES_MAX];
        let word = normalize(word, &mut buffer)?;
        lookup(word).or_else(|| lookup(word.strip_suffix('s')?))
    }

    /// Returns whether records of the type can exist.
    pub(super) fn is_supported(self) -> bool {
        !matches!(self, Unsupported(_))
    }

    /// Returns whether values of the type are digests, of supported kinds or others.
    fn is_digest(self) -> bool {
        match self {
            Digest(_) => true,
            Unsupported(what) => what.contains("hash") || what.contains("digest"),
            _ => false,
        }
    }

    /// Parses a value of the type and passes each of its indicators to `found`, or the error.
    pub(super) fn read(self, text: &str, found: &mut dyn FnMut(Result<WithPort, ValueError>)) {
        let no_port = |indicator| (indicator, None);
        let (first, second) = match text.rsplit_once('|') {
            Some((first, second)) => (first, Some(second)),
            None => (text, None),
        };
        let port = || second.and_then(|port| port.trim().parse().ok()).filter(|&port: &u16| port != 0);
        let result = match self {
            Hash => value::object_hash(text).map(no_port),
            Digest(kind) => digest(kind, text).map(no_port),
            NamedDigest(kind) => match second {
                Some(hash) => digest(kind, hash).map(no_port),
                None => Err(ValueError::Rejected("expected a file name and a hash separated by `|`".into())),
            },
            Certificate => value::certificate(text).map(no_port),
            PublicKey => value::public_key(text).map(no_port),
            Uri if is_path(text) => Err(ValueError::Unsupported("a path without a host")),
            Url | Uri | Link => value::web_exact(text),
            Domain => value::domain(text, Scope::Domain).map(no_port),
            Host => value::domain(text, Scope::Host).map(no_port),
            HostPort if second.is_some() => value::domain(first, Scope::Host).map(|name| (name, port())),
            HostPort => match text.rsplit_once(':') {
                Some((name, port)) => value::domain(name, Scope::Host).map(|name| (name, port.trim().parse().ok())),
                None => value::domain(text, Scope::Host).map(no_port),
            },
            Ip => value::ipv4_port(text),
            IpPort => value::ipv4_port(first).map(|(address, own)| (address, port().or(own))),
            DomainIp => match second {
                Some(address) => {
                    found(value::domain(first, Scope::Domain).map(no_port));
                    value::ipv4_port(address)
                }
                None => Err(ValueError::Rejected("expected a name and an address separated by `|`".into())),
            },
            Unsupported(what) => Err(ValueError::Unsupported(what)),
        };
        found(result);
    }

    /// Parses a value that holds exactly one indicator of the type.
    pub(super) fn read_one(self, text: &str) -> Result<WithPort, ValueError> {
        let mut first = None;
        self.read(text, &mut |result| {
            first.get_or_insert(result);
        });
        first.unwrap_or_else(|| Err(ValueError::Rejected("the indicator is missing".into())))
    }
}

/// Returns whether a URI is a path, relative or not, rather than a URL.
fn is_path(text: &str) -> bool {
    !text.contains("://") && !text.contains(":\\\\") && !text.contains("[:]")
}

/// Parses a digest of one kind. A prefix before it says what it is itself.
fn digest(kind: DigestKind, text: &str) -> Result<Indicator, ValueError> {
    let found = match kind {
        DigestKind::CertMd5 | DigestKind::CertSha1 | DigestKind::CertSha256 => value::certificate(text)?,
        DigestKind::SpkiSha1 | DigestKind::SpkiSha256 => value::public_key(text)?,
        _ => {
            let plain = || key::Digest::from_hex(kind, text.trim()).map(Indicator::Digest);
            return value::prefixed(text).unwrap_or_else(|| plain().map_err(|e| ValueError::Rejected(e.to_string())));
        }
    };
    match &found {
        Indicator::Digest(digest) if digest.kind() != kind => {
            Err(ValueError::Rejected(format!("expected {}, found {}", kind.prefix(), digest.kind().prefix())))
        }
        _ => Ok(found),
    }
}

/// Bytes of the longest normalized word.
pub(super) const WORD_BYTES_MAX: usize = 40;

/// Returns the letters and digits of a word in lower case; `None` if it has none, or more than any word of the table.
pub(super) fn normalize<'b>(word: &str, buffer: &'b mut [u8; WORD_BYTES_MAX]) -> Option<&'b str> {
    let mut length = 0;
    for byte in word.bytes().filter(u8::is_ascii_alphanumeric) {
        *buffer.get_mut(length)? = byte.to_ascii_lowercase();
        length += 1;
    }
    // A word in another script is not the ASCII letters that happen to be in it.
    if length == 0 || !word.is_ascii() {
        return None;
    }
    std::str::from_utf8(&buffer[..length]).ok()
}

fn lookup(word: &str) -> Option<TypeWord> {
    named(word).or_else(|| {
        // `filename|imphash`, `FileHash-SHA256`, `hash_md5`, `sha256_hash`.
        if let Some(rest) = word.strip_prefix("filename") {
            return match named(rest)? {
                Digest(kind) => Some(NamedDigest(kind)),
                kind => Some(kind).filter(|kind| !kind.is_supported()),
            };
        }
        let before = ["stixfile", "filehash", "filechecksum", "file", "hash"].iter().find_map(|p| word.strip_prefix(p));
        let after = ["filehash", "hash", "hashe", "checksum", "digest", "sum"].iter();
        let mut rest = before.into_iter().chain(after.filter_map(|suffix| word.strip_suffix(suffix)));
        rest.find_map(|rest| named(rest).filter(|kind| kind.is_digest()))
    })
}

/// The table. Words are in the singular where the plural only adds an `s`.
#[rustfmt::skip]
fn named(word: &str) -> Option<TypeWord> {
    Some(match word {
        "md5" => Digest(DigestKind::Md5),
        "sha1" => Digest(DigestKind::Sha1),
        "sha256" => Digest(DigestKind::Sha256),
        "blake3" => Digest(DigestKind::Blake3),
        "hash" | "hashe" | "file" | "filehash" | "filehashe" | "stixfile" | "artifact"
        | "malwarehash" | "samplehash" | "sample" | "checksum" | "digest" | "observablefile" => Hash,
        "malwaresample" => NamedDigest(DigestKind::Md5),
        "certmd5" | "certificatemd5" | "x509fingerprintmd5" => Digest(DigestKind::CertMd5),
        "certsha1" | "certificatesha1" | "sslcertsha1" | "x509fingerprintsha1" | "x509sha1" | "fingerprintsha1"
        | "sha1fingerprint" => Digest(DigestKind::CertSha1),
        "certsha256" | "certificatesha256" | "x509fingerprintsha256" | "x509sha256" | "fingerprintsha256"
        | "sha256fingerprint" => Digest(DigestKind::CertSha256),
        "spkisha1" => Digest(DigestKind::SpkiSha1),
        "spkisha256" => Digest(DigestKind::SpkiSha256),
        "cert" | "certificate" | "x509certificate" | "x509" | "certificatefingerprint" | "certfingerprint"
        | "sslcertfingerprint" | "sslfingerprint" | "tlsfingerprint" | "thumbprint" | "certthumbprint"
        | "certificatethumbprint" | "fingerprint" | "certificatehash" | "certhash" | "sslcertificate" | "tlscertificate"
        => Certificate,
        "spki" | "publickeyhash" => PublicKey,
        "url" | "maliciousurl" | "phishingurl" | "c2url" | "urlstring" | "webaddress" => Url,
        "uri" => Uri,
        "link" => Link,
        "domain" | "domainname" | "fqdn" | "maliciousdomain" | "c2domain" | "phishingdomain" | "rootdomain"
        | "alldomain" | "allsubdomain" | "domainfqdn" | "dnsname" => Domain,
        "host" | "hostname" | "subdomain" | "domainhostname" => Host,
        "hostnameport" | "hostport" | "domainport" => HostPort,
        "domainip" => DomainIp,
        "ip" | "ipv4" | "ipaddress" | "ipaddr" | "ipaddresse" | "ipv4addr" | "ipv4address" | "ipv4addresse" | "ip4"
        | "ipdst" | "ipsrc" | "dstip" | "srcip" | "destip" | "destinationip" | "sourceip" | "remoteip"
        | "maliciousip" | "attackerip" | "c2ip" | "serverip" | "cidr" | "cidrblock" | "cidrv4" | "ipv4cidr" | "ipcidr"
        | "ipv4net" | "ipv4network" | "ipv4block" | "ipv4range" | "iprange" | "ipblock" | "ipaddressblock"
        | "ipnetwork" | "netblock" | "range" | "subnet" | "ipaddressv4" | "addressipv4" => Ip,
        "ipport" | "ipdstport" | "ipsrcport" | "ipv4port" | "ipaddressport" | "dstipport" => IpPort,

        "ipv6" | "ip6" | "ipv6addr" | "ipv6address" | "ipv6addresse" | "ipv6cidr" | "ipv6net" | "ipv6network"
        | "ipv6range" | "ipaddressv6" | "cidrv6" => Unsupported("an IPv6 address"),
        "email" | "mail" | "emailaddress" | "emailaddresse" | "emailaddr" | "mailaddress" | "emailsrc" | "emaildst"
        | "emailreplyto" | "envelopefrom" | "bodyfrom" | "targetemail" | "whoisregistrantemail" | "dnssoaemail"
        | "emailsender" | "emailfrom" | "sender" | "senderemail" | "senderaddress" | "jabberid" | "eppn"
        => Unsupported("a mail address"),
        "emailsubject" | "emailattachment" | "emailbody" | "emailheader" | "emailmessage" | "emailmessageid"
        | "emailmimepart" | "emailmimeboundary" | "emailthreadindex" | "emailxmailer" | "emailsrcdisplayname"
        | "emaildstdisplayname" => Unsupported("a part of a mail message"),
        "filename" | "filepath" | "filepathname" | "fullpath" | "path" | "filenamepattern" | "filelocation" | "directory" | "folder"
        | "filemapping" | "filepattern" | "patterninfile" | "dllname" | "pdb" | "pdbpath" | "originalfilename"
        | "observablefilename" | "filenamepath" => Unsupported("a file name or path"),
        "package" | "packagename" | "apkpackagename" | "mobileapplicationid" | "mobileappid" | "apppackage"
        => Unsupported("the name of a program"),
        "size" | "sizeinbyte" | "filesize" | "mimetype" | "filetype" | "compiletime"
        => Unsupported("a property of a file"),
        "registry" | "registrykey" | "registrypath" | "registryvalue" | "registrykeyvalue" | "regkey" | "regkeyvalue"
        | "windowsregistrykey" | "windowsregistryvalue" | "registryentry" => Unsupported("a registry key"),
        "mutex" | "mutexe" | "mutexname" | "semaphore" | "semaphorename" | "event" | "eventname"
        => Unsupported("the name of a mutex"),
        "namedpipe" | "pipe" | "pipename" => Unsupported("the name of a pipe"),
        "process" | "processname" | "processe" | "commandline" | "cmdline" | "command" | "powershell"
        => Unsupported("a process or command line"),
        "service" | "servicename" | "windowsservicename" | "windowsservicedisplayname" | "scheduledtask"
        | "windowsscheduledtask" => Unsupported("the name of a service or task"),
        "imphash" | "imphashe" | "importhash" | "impfuzzy" => Unsupported("an import hash"),
        "pehash" | "pehashng" | "richhash" | "richpe" | "richheader" | "richpehash" | "richheaderhash"
        => Unsupported("a hash of a PE header"),
        "sectionhash" | "sectionmd5" | "sectionsha1" | "sectionsha256" => Unsupported("a hash of a section"),
        "authentihash" | "authentihashe" => Unsupported("an Authenticode hash"),
        "cdhash" => Unsupported("a hash of a code directory"),
        "ssdeep" | "tlsh" | "sdhash" | "fuzzyhash" | "lzjd" => Unsupported("a fuzzy hash"),
        "vhash" | "telfhash" | "dhash" | "phash" | "similarityhash" | "domhash" | "htmlhash"
        => Unsupported("a similarity hash"),
        "sha224" | "sha384" | "sha512224" | "sha512256" => Unsupported("a SHA-2 digest of another length"),
        "sha512" => Unsupported("a SHA-512 digest"),
        "sha3224" | "sha3256" | "sha3384" | "sha3512" | "sha3" => Unsupported("a SHA-3 digest"),
        "crc32" | "crc64" | "adler32" | "md4" | "md6" | "whirlpool" | "ripemd160" | "blake2" | "blake2b" | "blake2s"
        | "quickxorhash" | "hashion" | "ion" => Unsupported("a hash of another algorithm"),
        "ja3" | "ja3s" | "ja3hash" | "ja3md5" | "ja3fingerprint" | "ja3fingerprintmd5" | "ja3digest"
        => Unsupported("a JA3 fingerprint"),
        "ja4" | "ja4s" | "ja4h" | "ja4x" | "ja4t" | "ja4fingerprint" => Unsupported("a JA4 fingerprint"),
        "jarm" | "jarmfingerprint" | "jarmhash" => Unsupported("a JARM fingerprint"),
        "hassh" | "hasshmd5" | "hasshserver" | "hasshservermd5" | "sshfingerprint" | "sshkey"
        => Unsupported("an SSH fingerprint"),
        "favicon" | "faviconmmh3" | "faviconhash" | "iconhash" | "icondhash" => Unsupported("a hash of an icon"),
        "gitcommitid" | "commit" => Unsupported("a commit"),
        "serial" | "serialnumber" | "x509serial" | "certserial" | "certificateserial" | "certificateserialnumber"
        | "x509serialnumber" => Unsupported("a certificate's serial number"),
        "x509subject" | "x509issuer" | "subject" | "subjectcn" | "issuer" | "issuercn" | "certificatesubject"
        | "certificateissuer" | "commonname" => Unsupported("a name in a certificate"),
        "pgppublickey" | "pgpprivatekey" | "cryptographickey" | "publickey" | "password" | "credential" | "apikey"
        => Unsupported("a key or password"),
        "cve" | "cveid" | "vulnerability" | "vulnerabilitie" | "weakness" | "exploit" => Unsupported("a vulnerability"),
        "yara" | "yararule" | "sigma" | "sigmarule" | "snort" | "suricata" | "nid" | "bro" | "zeek" | "osquery"
        | "pattern" | "stix2pattern" | "detectionrule" | "rule" | "pgp" => Unsupported("a detection rule"),
        "regex" | "regexp" | "urlpattern" | "urlregex" | "domainpattern" | "domainregex"
        => Unsupported("a regular expression"),
        "asn" | "autonomoussystem" | "autonomoussystemnumber" => Unsupported("an autonomous system"),
        "bitcoin" | "bitcoinaddress" | "bitcoinaddresse" | "btc" | "btcaddress" | "xmr" | "monero" | "dash"
        | "ethereum" | "wallet" | "walletaddress" | "cryptowallet" | "cryptocurrencywallet" | "cryptocurrency"
        | "coinaddress" | "iban" | "bic" | "bankaccount" | "bankaccountnr" | "cc" | "ccnumber" | "paymentcard" | "prtn"
        => Unsupported("a payment address"),
        "useragent" | "httpuseragent" | "httpmethod" | "httprequest" | "httpheader" | "cookie" | "urlpath" | "uripath"
        => Unsupported("a part of an HTTP request"),
        "macaddress" | "macaddr" | "mac" | "maceui64" => Unsupported("a hardware address"),
        "port" | "networktraffic" | "protocol" | "trafficpattern" => Unsupported("a property of traffic"),
        "username" | "useraccount" | "accountname" | "account" | "personaname" | "githubusername" | "twitterid"
        | "telegram" | "telegramchannel" | "telegramid" | "phonenumber" | "phone" | "whoisregistrantname"
        | "whoisregistrantphone" | "whoisregistrar" | "whoisregistrantorg" | "threatactor" | "campaignname"
        | "campaignid" | "githuborganisation" | "githubrepository" => Unsupported("an account or a person"),
        "text" | "comment" | "other" | "hex" | "counter" | "float" | "datetime" | "boolean" | "attachment" | "anonymised"
        | "string" | "binarystring" | "mediacontent" | "devicename" => Unsupported("a text without a meaning of its own"),
        "country" | "countrycode" | "location" | "city" => Unsupported("a place"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_every_publisher_name_their_type() {
        let words: &[(TypeWord, &[&str])] = &[
            (Digest(DigestKind::Md5), &["filehash-md5", "md5_hash", "MD5 Checksum", "md5", "MD5 hashes"]),
            (Digest(DigestKind::Sha1), &["SHA-1", "hash_sha1", "sha1_hash"]),
            (Digest(DigestKind::Sha256), &["FileHash-SHA256", "sha-256", "SHA256 Hash", "File Hash (SHA256)"]),
            (Hash, &["file", "hash", "Hashes", "StixFile", "File Hash"]),
            (NamedDigest(DigestKind::Sha256), &["filename|sha256"]),
            (NamedDigest(DigestKind::Md5), &["filename|md5", "malware-sample"]),
            (Certificate, &["X509-Certificate", "certificates", "SSLCertFingerprint", "Thumbprint"]),
            (Digest(DigestKind::CertSha1), &["x509-fingerprint-sha1", "cert-sha1"]),
            (Digest(DigestKind::SpkiSha256), &["spki-sha256"]),
            (Url, &["url", "URL", "urls"]),
            (Uri, &["uri"]),
            (Link, &["link", "links"]),
            (Domain, &["domain", "Domain-Name", "FQDN", "Domains", "domain_name"]),
            (Host, &["hostname", "host", "hosts"]),
            (
                Ip,
                &[
                    "ip_address",
                    "ipaddress",
                    "ipAddress",
                    "ip-dst",
                    "ip-src",
                    "ipv4-addr",
                    "IPv4-Addr",
                    "ipv4",
                    "cidr",
                    "Ip",
                    "Range",
                    "ip_address_block",
                    "IP Addresses",
                    "ips",
                ],
            ),
            (IpPort, &["ip:port", "ip-dst|port", "ip-src|port"]),
            (HostPort, &["hostname|port"]),
        ];
        for (expected, words) in words {
            for word in *words {
                assert_eq!(TypeWord::of(word), Some(*expected), "{word}");
            }
        }
        assert_eq!(TypeWord::of("domain|ip"), Some(DomainIp));
        assert_eq!(TypeWord::of("blake3"), Some(Digest(DigestKind::Blake3)));
    }

    #[test]
    fn unsupported_types_each_have_a_reason() {
        for (word, reason) in [
            ("IPv6", "an IPv6 address"),
            ("email-src", "a mail address"),
            ("Filename", "a file name or path"),
            ("filename|imphash", "an import hash"),
            ("FileHash-IMPHASH", "an import hash"),
            ("FileHash-PEHASH", "a hash of a PE header"),
            ("regkey|value", "a registry key"),
            ("Mutex", "the name of a mutex"),
            ("ssdeep", "a fuzzy hash"),
            ("tlsh", "a fuzzy hash"),
            ("sha512", "a SHA-512 digest"),
            ("sha3_384_hash", "a SHA-3 digest"),
            ("ja3-fingerprint-md5", "a JA3 fingerprint"),
            ("CVE", "a vulnerability"),
            ("YARA", "a detection rule"),
            ("ASN", "an autonomous system"),
            ("BitcoinAddress", "a payment address"),
            ("x509_serial", "a certificate's serial number"),
        ] {
            assert_eq!(TypeWord::of(word), Some(Unsupported(reason)), "{word}");
        }
        for word in ["", "-", "phishing", "malware", "stalkerware", "ban", "домен", "note", &"x".repeat(100)] {
            assert_eq!(TypeWord::of(word), None, "{word}");
        }
    }

    #[test]
    fn composites_give_all_their_indicators() {
        let read = |word: &str, text: &str| {
            let mut all = Vec::new();
            TypeWord::of(word).unwrap().read(text, &mut |result| {
                all.push(result.map_or("error".into(), |(indicator, port)| format!("{indicator} {port:?}")));
            });
            all
        };
        let sha1 = "0a".repeat(20);
        assert_eq!(read("domain|ip", "a.example.com|9.9.9.9"), ["domain:a.example.com None", "ipv4:9.9.9.9 None"]);
        assert_eq!(read("ip-dst|port", "9.9.9.9|443"), ["ipv4:9.9.9.9 Some(443)"]);
        assert_eq!(read("ip:port", "9.9.9.9:443"), ["ipv4:9.9.9.9 Some(443)"]);
        assert_eq!(read("hostname|port", "a.example.com|80"), ["host:a.example.com Some(80)"]);
        assert_eq!(read("filename|sha1", &format!("a|b.exe|{sha1}")), [format!("sha1:{sha1} None")]);
        assert_eq!(read("filename|sha1", &sha1), ["error"]);
        assert_eq!(read("md5", &sha1), ["error"]);
        assert_eq!(read("x509-fingerprint-sha1", &format!("sha1:{sha1}")), [format!("cert-sha1:{sha1} None")]);
        assert_eq!(read("cert-md5", &sha1), ["error"]);
        assert_eq!(read("uri", "/gate.php"), ["error"]);
        assert_eq!(read("uri", "hxxp://a.example.com/x"), ["exact:a.example.com/x None"]);
    }
}
