//! Prevents dependency cycles, oversized files and unexplained `unsafe`: a module uses only modules of lower layers,
//! files have at most [`LINES_MAX`] lines, and `unsafe` is confined to [`UNSAFE_FILES`].
//!
//! The sources are read as text: the modules that each file names, in `use` declarations and in paths.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The layers, the lowest first. Modules of one layer must not use one another, except as listed in [`MAY_USE`].
const LAYERS: [&[&str]; 6] = [
    &["key", "record", "batch", "limits", "timestamp", "answer"],
    &["wire", "snapshot", "feed"],
    &["index"],
    &["engine", "reload", "compile", "in_process"],
    &["net", "server", "client"],
    &["cli"],
];

/// Pairs in which the first module may use the second, of the same layer. Modules of the lowest layer may use one
/// another.
const MAY_USE: [(&str, &str); 5] =
    [("server", "net"), ("client", "net"), ("reload", "engine"), ("compile", "engine"), ("in_process", "engine")];

/// Pairs in which the first module must not use the second, although that is in a lower layer.
const NEVER: [(&str, &str); 1] = [("index", "wire")];

/// The files that may contain `unsafe`, with an explanation.
const UNSAFE_FILES: [&str; 5] = [
    "src/index/kernel.rs",
    "src/index/prefetch.rs",
    "src/net/reuseport.rs",
    "src/snapshot/name_table.rs",
    "src/snapshot/open.rs",
];

const LINES_MAX: usize = 800;

struct Source {
    /// The path from the root of the project, with forward slashes.
    path: String,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push(Source { path: relative(root, &path), text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 20, "found only {} source files", found.len());
    found
}

fn relative(root: &Path, path: &Path) -> String {
    let parts: PathBuf = path.strip_prefix(root).unwrap().into();
    parts.components().map(|c| c.as_os_str().to_str().unwrap()).collect::<Vec<_>>().join("/")
}

/// Returns the top-level module of a file; `None` for the crate roots and the build script, which belong to no layer.
fn module_of(path: &str) -> Option<&str> {
    let inner = path.strip_prefix("src/")?;
    let name = inner.split('/').next()?;
    let name = name.strip_suffix(".rs").unwrap_or(name);
    (!["build", "lib", "main"].contains(&name)).then_some(name)
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// Returns whether code of one module may use another.
fn is_allowed(from: &str, to: &str) -> bool {
    let (Some(upper), Some(lower)) = (layer_of(from), layer_of(to)) else { return false };
    from == to
        || ((lower < upper || (upper == 0 && lower == 0) || MAY_USE.contains(&(from, to)))
            && !NEVER.contains(&(from, to)))
}

/// Returns the code of every line, without comments, strings and character literals, which name no dependencies.
fn code_lines(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut chars = text.chars().peekable();
    let push = |lines: &mut Vec<String>, c: char| match c {
        '\n' => lines.push(String::new()),
        c => lines.last_mut().unwrap().push(c),
    };
    let mut comment_depth = 0;
    let mut previous = ' ';
    while let Some(c) = chars.next() {
        let next = chars.peek().copied();
        match (c, next) {
            ('/', Some('*')) => {
                chars.next();
                comment_depth += 1;
            }
            ('*', Some('/')) if comment_depth > 0 => {
                chars.next();
                comment_depth -= 1;
            }
            ('\n', _) => push(&mut lines, '\n'),
            _ if comment_depth > 0 => {}
            ('/', Some('/')) => while chars.next_if(|&c| c != '\n').is_some() {},
            // A raw string: r"…", r#"…"#.
            ('r', Some('"' | '#')) if !(previous.is_alphanumeric() && previous != 'b') && previous != '_' => {
                let hashes = std::iter::from_fn(|| chars.next_if_eq(&'#')).count();
                if chars.next_if_eq(&'"').is_some() {
                    let end = format!("\"{}", "#".repeat(hashes));
                    let mut tail = String::new();
                    while !tail.ends_with(&end) {
                        let Some(c) = chars.next() else { break };
                        if c == '\n' {
                            push(&mut lines, c);
                        }
                        tail.push(c);
                    }
                }
            }
            ('"', _) => {
                while let Some(c) = chars.next() {
                    match c {
                        // The character after a backslash is skipped in any case.
                        '\\' if chars.next() == Some('\n') => push(&mut lines, '\n'),
                        '"' => break,
                        '\n' => push(&mut lines, '\n'),
                        _ => {}
                    }
                }
            }
            // A character literal such as '"', not a lifetime.
            ('\'', Some(inner)) => {
                let mut ahead = chars.clone();
                ahead.next();
                if inner == '\\' || ahead.next() == Some('\'') {
                    let escaped = chars.next() == Some('\\');
                    if escaped {
                        chars.next();
                    }
                    while chars.next().is_some_and(|c| c != '\'') {}
                }
            }
            (c, _) => push(&mut lines, c),
        }
        previous = c;
    }
    lines
}

/// Returns the modules of this crate that a file names, each with its line (from 1).
fn dependencies(text: &str, from_program: bool) -> Vec<(usize, String)> {
    let lines = code_lines(text);
    // `crate::a`, `crate::{a, b::{…}}` and, in the program, `ksn::a`.
    let joined = lines.join("\n");
    let mut found = Vec::new();
    for root in ["crate", "ksn"].into_iter().filter(|&root| root == "crate" || from_program) {
        let mut rest = 0;
        while let Some(at) = joined[rest..].find(root).map(|at| at + rest) {
            rest = at + root.len();
            let is_word = !joined[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            let Some(path) = joined[rest..].strip_prefix("::").filter(|_| is_word) else { continue };
            let line = joined[..at].matches('\n').count() + 1;
            for name in first_segments(path) {
                found.push((line, name));
            }
        }
    }
    found
}

/// Returns the first segment of a path, or of each path of a group.
fn first_segments(path: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = path.strip_prefix('{') else { return vec![word(path)] };
    let (mut depth, mut start, mut names) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.push(word(group[start..at].trim()));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(word(group[start..at].trim()));
                start = at + 1;
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// Returns the line at which the tests of a file begin: they may use higher layers.
fn tests_start(text: &str) -> usize {
    code_lines(text).iter().position(|line| line.trim() == "#[cfg(test)]").map_or(usize::MAX, |at| at + 1)
}

#[test]
fn modules_use_lower_layers_only() {
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for source in sources() {
        let Some(module) = module_of(&source.path) else { continue };
        if layer_of(module).is_none() {
            wrong.push(format!("{}: the module `{module}` is in no layer; add it to LAYERS", source.path));
            continue;
        }
        let tests = tests_start(&source.text);
        for (line, name) in dependencies(&source.text, module == "cli") {
            // Re-exports of the root (`crate::Key`) are for callers; inside the crate they would hide dependencies. The
            // program is a caller.
            let is_module = layer_of(&name).is_some();
            if !is_module && module != "cli" && line < tests {
                wrong.push(format!("{}:{line}: `crate::{name}` hides a dependency; name its module", source.path));
            }
            if is_module && line < tests && !is_allowed(module, &name) {
                wrong.push(format!("{}:{line}: `{module}` must not use `{name}`", source.path));
            }
            seen.insert((module.to_owned(), name));
        }
    }
    assert!(seen.contains(&("engine".into(), "index".into())), "no dependencies were found: {seen:?}");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_program_uses_the_public_api_only() {
    let mut wrong = Vec::new();
    for source in sources() {
        if module_of(&source.path) != Some("cli") && source.path != "src/main.rs" {
            continue;
        }
        for (line, name) in dependencies(&source.text, false) {
            // Its own modules are `crate::cli`.
            if layer_of(&name).is_some_and(|layer| layer < LAYERS.len() - 1) {
                wrong.push(format!("{}:{line}: `crate::{name}`; use `ksn::{name}` in the program", source.path));
            }
        }
    }
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    assert!(
        !code_lines(&lib).iter().any(|line| line.trim_end().ends_with("mod cli;")),
        "the library must not contain the program"
    );
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn files_are_short() {
    let long: Vec<String> = sources()
        .iter()
        .map(|source| (source, source.text.lines().count()))
        .filter(|&(_, lines)| lines > LINES_MAX)
        .map(|(source, lines)| format!("{}:{lines}: more than {LINES_MAX} lines; split it", source.path))
        .collect();
    assert!(long.is_empty(), "\n{}", long.join("\n"));
}

#[test]
fn unsafe_is_confined_to_the_listed_files() {
    let mut wrong = Vec::new();
    let mut used = BTreeSet::new();
    for source in sources() {
        for (line, code) in code_lines(&source.text).iter().enumerate() {
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            if !code.split(|c| !is_word(c)).any(|word| word == "unsafe") {
                continue;
            }
            if UNSAFE_FILES.contains(&source.path.as_str()) {
                used.insert(source.path.clone());
            } else {
                wrong.push(format!("{}:{}: `unsafe` outside of {UNSAFE_FILES:?}", source.path, line + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert_eq!(used.len(), UNSAFE_FILES.len(), "a file of UNSAFE_FILES has no `unsafe`: {used:?}");
}

#[test]
fn dependencies_are_parsed_from_source_text() {
    let text = "use crate::{\n    key::{Key, Scope},\n    wire,\n    // net::Secret,\n};\nfn f() { crate::index::g(\"crate::cli\", '\"', r#\"crate::feed \"#) }\n/* crate::net */ use super::server;\n// crate::client\nlet x: &'a str = mycrate::net::y; ksn::server::run()";
    let expected = [(1, "key"), (1, "wire"), (6, "index")].map(|(line, name)| (line, name.to_owned()));
    assert_eq!(dependencies(text, false), expected);
    assert_eq!(dependencies(text, true).last(), Some(&(9, "server".to_owned())));
    assert!(is_allowed("wire", "key") && is_allowed("server", "net") && is_allowed("record", "key"));
    assert!(!is_allowed("key", "wire") && !is_allowed("wire", "snapshot") && !is_allowed("server", "client"));
    assert!(!is_allowed("net", "server") && !is_allowed("index", "wire") && !is_allowed("feed", "snapshot"));
}
