//! Prevents dependency cycles, oversized files and unexplained `unsafe`: a module uses only modules of lower layers, the
//! files of [`FOLDERS_WITHOUT_CIRCLES`] use one another in one direction only, files have at most [`LINES_MAX`] lines,
//! and `unsafe` is confined to [`UNSAFE_FILES`].
//!
//! The sources are read as text: the modules that each file names, in `use` declarations and in paths.

use std::{
    collections::{BTreeMap, BTreeSet},
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

/// The folders of which the files must not use one another in a circle.
const FOLDERS_WITHOUT_CIRCLES: [&str; 3] = ["src/client", "src/net", "src/server"];

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
    named_below(if from_program { &["crate", "ksn"] } else { &["crate"] }, text)
}

/// Returns the names directly below some roots, each with its line (from 1): `a` and `b` of `crate::a` and
/// `crate::{a, b::{…}}`.
fn named_below(roots: &[&str], text: &str) -> Vec<(usize, String)> {
    let lines = code_lines(text);
    let joined = lines.join("\n");
    let mut found = Vec::new();
    for root in roots {
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

/// Returns the files of a folder, each with those of the same folder that it uses outside of its tests.
fn uses_in_folder(folder: &str, sources: &[Source]) -> BTreeMap<String, BTreeSet<String>> {
    let file_of = |source: &Source| {
        let name = source.path.strip_prefix(folder)?.strip_prefix('/')?.strip_suffix(".rs")?;
        // A folder below it belongs to the file of that name.
        (!name.contains('/')).then(|| name.to_owned())
    };
    let files: BTreeSet<String> = sources.iter().filter_map(file_of).collect();
    let mut uses = BTreeMap::new();
    for source in sources {
        let Some(file) = file_of(source) else { continue };
        let tests = tests_start(&source.text);
        let code: Vec<String> = code_lines(&source.text).into_iter().take(tests - 1).collect();
        let used = if file == "mod" {
            // What it re-exports is for users of the folder.
            let own: Vec<String> = code.join("\n").split_inclusive(';').map(str::to_owned).collect();
            let own: String = own.into_iter().filter(|item| !item.trim().starts_with("pub use ")).collect();
            let words = own.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
            let paths = words.filter_map(|word| Some(word.split_once("::")?.0.to_owned()));
            let imported = named_below(&["self"], &own).into_iter().map(|(_, name)| name);
            paths.chain(imported).filter(|name| files.contains(name)).collect()
        } else {
            // A name that is not that of a file is an item of `mod.rs`.
            let named = named_below(&["super"], &code.join("\n")).into_iter().map(|(_, name)| name);
            named.map(|name| if files.contains(&name) { name } else { "mod".to_owned() }).collect()
        };
        uses.insert(file, used);
    }
    uses
}

/// Removes the files that are in no circle.
fn keep_circles(uses: &mut BTreeMap<String, BTreeSet<String>>) {
    // A file that uses none of the remaining ones is in no circle, and neither is one that none of them uses.
    loop {
        let before = uses.len();
        let remaining: BTreeSet<String> = uses.keys().cloned().collect();
        uses.values_mut().for_each(|used| used.retain(|name| remaining.contains(name)));
        uses.retain(|_, used| !used.is_empty());
        let used: BTreeSet<String> = uses.values().flatten().cloned().collect();
        uses.retain(|file, _| used.contains(file));
        if uses.len() == before {
            return;
        }
    }
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
fn files_of_a_folder_use_one_another_in_one_direction() {
    for folder in FOLDERS_WITHOUT_CIRCLES {
        let mut uses = uses_in_folder(folder, &sources());
        assert!(uses.len() > 1 && uses.values().any(|used| used.len() > 1), "{folder}: found no uses: {uses:?}");
        keep_circles(&mut uses);
        assert!(uses.is_empty(), "{folder}: files in circles, with those that they use: {uses:#?}");
    }
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
fn circles_are_found() {
    let source = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
    let mut sources = vec![
        source("src/x/mod.rs", "mod a;\nmod b;\npub use self::top::Top;\nuse self::a::A;\npub fn f() { b::g() }"),
        source("src/x/a.rs", "use super::{b::{self, B}, c};\n#[cfg(test)]\nmod tests { use super::top::Top; }"),
        source("src/x/b.rs", "// super::a\nfn g() { super::c::h() }"),
        source("src/x/c.rs", ""),
        source("src/x/c/inner.rs", "use super::super::a;"),
        source("src/x/top.rs", "use super::Thing;"),
    ];
    let mut uses = uses_in_folder("src/x", &sources);
    let found: Vec<String> = uses.iter().map(|(file, used)| format!("{file}: {used:?}")).collect();
    assert_eq!(found, [r#"a: {"b", "c"}"#, r#"b: {"c"}"#, "c: {}", r#"mod: {"a", "b"}"#, r#"top: {"mod"}"#]);
    keep_circles(&mut uses);
    assert!(uses.is_empty(), "{uses:?}");
    sources[3].text = "use super::a::A;".into();
    let mut uses = uses_in_folder("src/x", &sources);
    keep_circles(&mut uses);
    assert!(uses.keys().eq(["a", "b", "c"]), "{uses:?}");
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
