//! Guards: names and blocks that make poor indicators, whichever feed lists them.
//!
//! A guard does not mean that its subject is good; it means that a record of it would match far more than the feed's
//! author intended. A bad record is withheld when it matches what a guard entry names, or covers it:
//!
//! | guard entry | records withheld | records kept |
//! | --- | --- | --- |
//! | host name `google.com` (with its subdomains) | `host` and `domain` of it and of names below it; `domain` of names above it; its `/`, as `exact` or `expression` | URLs with a path or a query: malware on a shared host stays listed |
//! | exact name `google.com` | the same without the names below it | names below it |
//! | block `104.16.0.0/13` | every block that shares an address with it | URLs with a path or a query |
//!
//! Like an entry with subdomains, a block covers everything in it: a single address within the block of a content
//! delivery network is shared by thousands of sites, which is why these lists exist. A record by digest only
//! (`expression-sha256`) is withheld when its digest is that of a guarded name's `/`.

use std::{
    collections::{HashMap, HashSet},
    net::Ipv4Addr,
};

use sha2::{Digest as _, Sha256};

use super::value;
use crate::key::{Indicator, Ipv4Block, Scope};

/// The guarded names and blocks.
#[derive(Debug, Default)]
pub struct Guards {
    /// Guarded names, and whether their subdomains are guarded too.
    names: HashMap<Box<str>, bool>,
    /// Every parent domain of a guarded name.
    parents: HashSet<Box<str>>,
    /// SHA-256 of the expression `name/` of every guarded name.
    roots: HashSet<[u8; 32]>,
    /// Disjoint and ascending after [`Guards::sort_and_dedup`].
    blocks: Vec<Ipv4Block>,
}

/// The result of reading a guard list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuardReport {
    /// Entries added.
    pub entries: u64,
    /// Entries that guards do not support (regular expressions, substrings, IPv6).
    pub unsupported: u64,
    /// Entries that could not be parsed.
    pub rejected: u64,
}

impl Guards {
    /// Guards exactly this name (no subdomains). Returns `false` if it is not a valid name.
    pub(crate) fn add_exact(&mut self, name: &str) -> bool {
        self.add_name(name, false)
    }

    /// Guards this name with its subdomains. Returns `false` if it is not a valid name.
    pub(crate) fn add_hostname(&mut self, name: &str) -> bool {
        self.add_name(name, true)
    }

    /// Guards the addresses of a block.
    pub(crate) fn add_block(&mut self, block: Ipv4Block) {
        self.blocks.push(block);
    }

    fn add_name(&mut self, name: &str, with_subdomains: bool) -> bool {
        match value::domain(name, Scope::Host) {
            Ok(Indicator::Web { scope, expression }) => {
                for (at, _) in expression.match_indices('.') {
                    self.parents.insert(expression[at + 1..].into());
                }
                self.roots.insert(root(&expression));
                // `*.name` has the scope domain.
                *self.names.entry(expression).or_default() |= with_subdomains || scope == Scope::Domain;
                true
            }
            Ok(Indicator::Ipv4(block)) => {
                self.add_block(block);
                true
            }
            _ => false,
        }
    }

    /// Sorts and merges the blocks, so that one binary search finds an overlap.
    pub(super) fn sort_and_dedup(&mut self) {
        self.blocks.sort_unstable();
        self.blocks.dedup_by(|next, kept| {
            let overlap = next.first() <= kept.last();
            if overlap && let Some(joined) = Ipv4Block::new(kept.first(), kept.last().max(next.last())) {
                *kept = joined;
            }
            overlap
        });
    }

    /// Returns the reason to withhold the indicator; `None` if it is not guarded.
    pub(super) fn guards(&self, indicator: &Indicator) -> Option<&'static str> {
        let guarded = match indicator {
            Indicator::Digest(_) => false,
            Indicator::Ipv4(block) => self.has_block(*block),
            Indicator::WebSha256(digest) => self.roots.contains(digest),
            Indicator::Web { scope, expression } => self.has_web(*scope, expression),
        };
        guarded.then_some("guarded")
    }

    fn has_web(&self, scope: Scope, expression: &str) -> bool {
        let (host, path) = expression.split_at(expression.find('/').unwrap_or(expression.len()));
        if !matches!(path, "" | "/") {
            return false;
        }
        if let Ok(address) = host.parse::<Ipv4Addr>() {
            return self.has_block(address.into());
        }
        let covers_subdomains = matches!(scope, Scope::Domain | Scope::Expression);
        self.names.contains_key(host)
            || covers_subdomains && self.parents.contains(host)
            || host.match_indices('.').any(|(at, _)| self.names.get(&host[at + 1..]) == Some(&true))
    }

    fn has_block(&self, block: Ipv4Block) -> bool {
        let at = self.blocks.partition_point(|guard| guard.last() < block.first());
        self.blocks.get(at).is_some_and(|guard| guard.first() <= block.last())
    }
}

fn root(host: &str) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(host);
    hasher.update("/");
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guards(text: &str) -> Guards {
        let mut guards = Guards::default();
        let report = guards.read(text.as_bytes(), "").unwrap();
        assert_eq!((report.unsupported, report.rejected), (0, 0), "{text}");
        guards
    }

    fn web(scope: Scope, expression: &str) -> Indicator {
        Indicator::Web { scope, expression: expression.into() }
    }

    #[test]
    fn names_guard_themselves_and_covering_records() {
        let guards = guards("# good\r\nGoogle.example.com # comment\r\n");
        for withheld in [
            web(Scope::Domain, "google.example.com"),
            web(Scope::Host, "google.example.com"),
            web(Scope::Host, "mail.google.example.com"),
            web(Scope::Domain, "mail.google.example.com"),
            web(Scope::Domain, "example.com"),
            web(Scope::Domain, "com"),
            web(Scope::Exact, "google.example.com/"),
            web(Scope::Expression, "example.com/"),
            Indicator::WebSha256(root("google.example.com")),
        ] {
            assert!(guards.guards(&withheld).is_some(), "{withheld}");
        }
        for kept in [
            web(Scope::Host, "example.com"),
            web(Scope::Exact, "example.com/"),
            web(Scope::Exact, "google.example.com/evil.exe"),
            web(Scope::Exact, "google.example.com/?q"),
            web(Scope::Expression, "google.example.com/evil/"),
            web(Scope::Domain, "evilgoogle.example.com"),
            web(Scope::Domain, "le.example.com"),
            Indicator::WebSha256(root("mail.google.example.com")),
        ] {
            assert!(guards.guards(&kept).is_none(), "{kept}");
        }
    }

    #[test]
    fn exact_names_do_not_guard_subdomains() {
        let mut guards = Guards::default();
        assert!(guards.add_exact("a.example.com"));
        assert!(!guards.add_exact("not a name"));
        assert!(guards.guards(&web(Scope::Domain, "a.example.com")).is_some());
        assert!(guards.guards(&web(Scope::Domain, "example.com")).is_some());
        assert!(guards.guards(&web(Scope::Domain, "b.a.example.com")).is_none());
    }

    #[test]
    fn blocks_guard_every_address_in_them() {
        let guards = guards("8.8.8.8\n104.16.0.0/13\n104.16.1.0/24\n104.24.0.0/14\n");
        let guarded = |block: &str| guards.guards(&Indicator::Ipv4(block.parse().unwrap())).is_some();
        for block in ["8.8.8.8", "8.8.8.0/24", "104.16.1.1", "104.16.0.0/13", "104.0.0.0/8", "104.27.255.255"] {
            assert!(guarded(block), "{block}");
        }
        for block in ["8.8.8.7", "8.8.8.9", "104.15.255.255", "104.28.0.0", "1.1.1.1", "200.0.0.0/8"] {
            assert!(!guarded(block), "{block}");
        }
        assert!(guards.guards(&web(Scope::Exact, "104.16.1.1/")).is_some());
        assert!(guards.guards(&web(Scope::Exact, "104.16.1.1/x")).is_none());
    }
}
