//! `build`: what the feeds are called, what each is told by the config file, and what happens when they yield too little.

use std::{collections::BTreeMap, fs};

use serde_json::Value;

use crate::program::{Program, RunOutput, SHA256};

/// Writes a list of `count` made-up domains.
fn write_list(program: &Program, name: &str, count: u32) {
    let rows: String =
        (0..count).map(|n| format!("||{n}.{}.example^\n", name.replace(['/', '.', ' ', '_'], "-"))).collect();
    program.write(name, &rows);
}

/// Builds `records.ksn` with a JSON report.
fn build(program: &Program, args: &[&str]) -> (RunOutput, Value) {
    let created = ["build", "-o", "records.ksn", "--created", "2026-11-22", "--report", "json"];
    let run = program.run(&[&created, args].concat());
    let report = serde_json::from_str(&run.out).unwrap_or(Value::Null);
    (run, report)
}

/// Returns the number of records of each source of `records.ksn`.
fn sources(program: &Program) -> BTreeMap<String, u64> {
    let run = program.run(&["inspect", "--json", "records.ksn"]);
    let shown: Value = serde_json::from_str(&run.out).unwrap_or_else(|e| panic!("{e}: {run:?}"));
    let sources = shown["sources"].as_array().unwrap().iter();
    sources.map(|s| (s["name"].as_str().unwrap().to_owned(), s["records"].as_u64().unwrap())).collect()
}

fn counts(counts: &[(&str, u64)]) -> BTreeMap<String, u64> {
    counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

/// Prevents: a feed whose source changed its format, and which silently yields nothing from then on.
#[test]
fn a_feed_that_yields_nothing_has_its_own_exit_code_and_reason() {
    let program = Program::new();
    program.write("six.txt", "2001:db8::1\n2001:db8::2\n2001:db8::3\n");
    for args in [&["six.txt"][..], &["names.txt", "six.txt"]] {
        let run = program.run(&[&["build", "-o", "x.ksn", "--format", "ipv4-list"], args].concat());
        assert_eq!(run.code, Some(3), "{run:?}");
        assert!(run.err.contains("six.txt: no record from 3 rows; 3 unsupported: "), "{run:?}");
        assert!(run.err.contains("nothing was written") && !program.path("x.ksn").exists(), "{run:?}");
    }
    let (run, report) = build(&program, &["--format", "ipv4-list", "six.txt"]);
    assert_eq!((run.code, &report["written"]), (Some(3), &false.into()), "{run:?}");
    assert!(report["problems"][0].as_str().unwrap().contains("six.txt") && !program.path("records.ksn").exists());
    let (run, report) = build(&program, &["--format", "ipv4-list", "--allow-empty", "six.txt"]);
    assert_eq!((run.code, &report["records"]), (Some(0), &0.into()), "{run:?}");
    let run = program.run_with_input(&["build", "-o", "x.ksn", "--format", "domains", "-"], b"no name\nnot a name\n");
    assert_eq!(run.code, Some(3), "{run:?}");
}

/// Prevents: an error for a list that others have already, that is out of date, or that is empty today.
#[test]
fn duplicates_count_and_withheld_or_empty_feeds_only_warn() {
    let program = Program::new();
    program.write("again.csv", &fs::read_to_string(program.path("hashes.csv")).unwrap());
    program.write("guard.txt", "evil.example\n");
    program.write("guarded.txt", "||evil.example^\n");
    program.write("comments.txt", "# nothing today\n");
    program.write("empty.txt", "");
    let (run, report) = build(&program, &["hashes.csv", "--source", "x", "again.csv"]);
    assert_eq!((run.code, &report["warnings"].as_array().unwrap().len()), (Some(0), &0), "{run:?}");
    for (args, warning) in [
        (&["--guard", "guard.txt", "hashes.csv", "guarded.txt"][..], "guarded.txt: no record from 1 row; 1 withheld"),
        (&["--max-age", "7d", "names.txt", "hashes.csv"], "hashes.csv: no record from 1 row; 1 withheld: older than"),
        (&["names.txt", "comments.txt"], "comments.txt: no data rows"),
        (&["names.txt", "empty.txt"], "empty.txt: no data rows"),
    ] {
        let (run, report) = build(&program, &[&["--max-shrink", "100"], args].concat());
        assert_eq!(run.code, Some(0), "{run:?}");
        let warnings = report["warnings"].as_array().unwrap();
        assert!(warnings.len() == 1 && warnings[0].as_str().unwrap().starts_with(warning), "{report}");
    }
    // Nothing at all is another matter.
    let (run, _) = build(&program, &["--max-shrink", "100", "comments.txt"]);
    assert_eq!(run.code, Some(3), "{run:?}");
}

/// Prevents: a folder of which one file yields nothing and nobody notices, or of which nothing can be built.
#[test]
fn a_file_of_a_folder_that_yields_nothing_is_reported() {
    let program = Program::new();
    write_list(&program, "folder/good.txt", 3);
    program.write("folder/six.txt", "0.0.0.0 2001:db8::1\n::1 localhost\n127.0.0.1 localhost\n127.0.0.1 a b\n");
    program.write("folder/bad.txt", "deadbeef;Bad\n");
    let (run, report) = build(&program, &["folder"]);
    assert_eq!((run.code, &report["records"]), (Some(0), &3.into()), "{run:?}");
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("bad.txt: no record from 1 row; 1 rejected: "), "{report}");
    fs::remove_file(program.path("folder/good.txt")).unwrap();
    fs::remove_file(program.path("folder/six.txt")).unwrap();
    let (run, report) = build(&program, &["folder", "names.txt"]);
    assert_eq!(run.code, Some(3), "{run:?}");
    assert!(report["problems"][0].as_str().unwrap().starts_with("folder: no record from 1 row"), "{report}");
}

/// Prevents: a good snapshot that is replaced by what a failed download left of it.
#[test]
fn a_snapshot_that_has_shrunk_is_not_written() {
    let program = Program::new();
    write_list(&program, "a.txt", 100);
    write_list(&program, "b.txt", 10);
    assert_eq!(build(&program, &["a.txt", "b.txt"]).0.code, Some(0));
    let before = fs::read(program.path("records.ksn")).unwrap();
    let refused = |args: &[&str], problem: &str| {
        let (run, report) = build(&program, args);
        assert_eq!(run.code, Some(3), "{args:?}: {run:?}");
        assert!(report["problems"].to_string().contains(problem), "{args:?}: {report}");
        assert_eq!(fs::read(program.path("records.ksn")).unwrap(), before);
    };
    refused(&["a.txt"], "source b: 0 of 10 records are left, 100 % fewer, more than --max-shrink 50");
    refused(&["--max-shrink", "99", "a.txt"], "source b: 0 of 10");
    refused(&["b.txt"], "all sources: 10 of 110");
    refused(&["--min-records", "111", "a.txt", "b.txt"], "the snapshot has 110 records, expected at least 111");
    write_list(&program, "b.txt", 4);
    refused(&["a.txt", "b.txt"], "source b: 4 of 10 records are left, 60 % fewer");
    write_list(&program, "b.txt", 5);
    assert_eq!(build(&program, &["--min-records", "105", "a.txt", "b.txt"]).0.code, Some(0));
    assert_eq!(build(&program, &["--max-shrink", "100", "a.txt"]).0.code, Some(0));
    assert_eq!(sources(&program), counts(&[("a", 100)]));

    fs::write(program.path("records.ksn"), "no snapshot").unwrap();
    let (run, _) = build(&program, &["b.txt"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(
        run.err.contains("records.ksn: cannot compare with the snapshot to be replaced: not a snapshot"),
        "{run:?}"
    );
}

/// Prevents: one broken file that keeps a whole folder out, and half a file that passes for a whole one.
#[test]
fn a_broken_file_of_a_folder_is_passed_over_and_a_named_one_is_an_error() {
    let program = Program::new();
    write_list(&program, "folder/good.txt", 3);
    // Its records are read before the end is found to be missing.
    let rows: String = (0..20_000u32).map(|n| format!("{}\n", blake3::hash(&n.to_le_bytes()).to_hex())).collect();
    let packed = zstd::stream::encode_all(rows.as_bytes(), 1).unwrap();
    fs::write(program.path("folder/cut.txt.zst"), &packed[..packed.len() - 3]).unwrap();
    program.write("folder/event.json", r#"{"Event": {"info": "x", "uuid": "y", "Attribute": [{"type": "md5","#);
    let alone = build(&program, &["folder/good.txt"]).0;
    let expected = fs::read(program.path("records.ksn")).unwrap();
    assert_eq!(alone.code, Some(0), "{alone:?}");
    let (run, report) = build(&program, &["folder"]);
    assert_eq!((run.code, &report["records"]), (Some(0), &3.into()), "{run:?}");
    let errors: Vec<_> = report["files"].as_array().unwrap().iter().map(|file| file["error"].is_string()).collect();
    assert_eq!(errors, [true, true, false], "{report}");
    // Not a byte is left of them.
    assert_eq!(fs::read(program.path("records.ksn")).unwrap(), expected);
    let text = program.run(&["build", "-o", "x.ksn", "folder"]);
    assert!(text.err.contains("cut.txt.zst: ") && text.err.contains("event.json: malformed misp-event"), "{text:?}");

    for (args, file) in [
        (&["--strict", "folder"][..], "cut.txt.zst"),
        (&["folder/good.txt", "folder/cut.txt.zst"], "cut.txt.zst"),
        (&["folder/event.json", "folder/good.txt"], "event.json"),
        (&["folder/absent.txt"], "absent.txt"),
    ] {
        let run = program.run(&[&["build", "-o", "y.ksn"], args].concat());
        assert_eq!(run.code, Some(2), "{run:?}");
        assert!(run.err.contains(file) && !program.path("y.ksn").exists(), "{run:?}");
    }
}

/// Prevents: records of which nobody knows the list that they are from.
#[test]
fn sources_are_named_after_publisher_file_folder_or_format() {
    let program = Program::new();
    write_list(&program, "lists/mumblehard/samples-2026-11-22.txt", 1);
    write_list(&program, "lists/top.list", 2);
    write_list(&program, "else/where/bad hosts_20261122.txt", 4);
    write_list(&program, "botnets/01234567-89ab-cdef-0123-456789abcdef.txt", 8);
    let urlhaus = "# id,dateadded,url,url_status,last_online,threat,tags,urlhaus_link,reporter\n\
        \"1\",\"2026-11-01 00:00:00\",\"http://bad.example/x\",\"online\",\"\",\"malware_download\",\"x\",\"\",\"y\"\n";
    program.write("csv-2026-11-22.txt", urlhaus);
    let feeds = [
        "lists",
        "else/where/bad hosts_20261122.txt",
        "botnets/01234567-89ab-cdef-0123-456789abcdef.txt",
        "csv-2026-11-22.txt",
    ];
    let (run, _) = build(&program, &feeds);
    assert_eq!(run.code, Some(0), "{run:?}");
    let expected = [("mumblehard/samples", 1), ("top", 2), ("bad-hosts", 4), ("botnets", 8), ("urlhaus", 1)];
    assert_eq!(sources(&program), counts(&expected));

    let args = ["build", "-o", "records.ksn", "-"];
    assert_eq!(program.run_with_input(&args, b"||a.example^\n").code, Some(3), "every other source has vanished");
    fs::remove_file(program.path("records.ksn")).unwrap();
    assert_eq!(program.run_with_input(&args, b"||a.example^\n").code, Some(0));
    assert_eq!(sources(&program), counts(&[("adblock", 1)]));
}

/// Prevents: settings of one feed that reach another, and those that are accepted and forgotten.
#[test]
fn a_config_file_describes_each_feed() {
    let program = Program::new();
    write_list(&program, "feeds/lists/a.txt", 3);
    write_list(&program, "feeds/lists/b.txt", 2);
    let columns = format!("2026-11-20 00:00:00;x;{SHA256}\n");
    program.write("feeds/odd.csv", &columns);
    program.write("feeds/good.txt", "||good.example^\n");
    program.write("feeds/popular.txt", "0-feeds-lists-b-txt.example\n0.feeds-lists-b-txt.example\n");
    let config = |min: u32| {
        let text = format!(
            r#"
            [[feed]]
            path = "odd.csv"
            source = "odd"
            format = "csv"
            columns = ["time", "name", "hash"]
            type = "riskware"
            expiry = "30d"

            [[feed]]
            path = "good.txt"
            trust = "trusted"

            [[feed]]
            path = "lists/*.txt"
            confidence = 40
            min-records = {min}

            [[feed]]
            path = "popular.txt"
            trust = "guard"
            "#
        );
        program.write("feeds/feeds.toml", &text);
    };
    config(4);
    let (run, _) = build(&program, &["--config", "feeds/feeds.toml"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(sources(&program), counts(&[("a", 3), ("b", 1), ("good", 1), ("odd", 1)]));
    let run = program.run(&["lookup", "--json", "--db", "records.ksn", SHA256, "good.example"]);
    let rows = run.objects();
    assert_eq!(rows[0]["record_type"], "riskware", "{run:?}");
    assert_eq!((&rows[0]["source"], &rows[0]["name"]), (&"odd".into(), &"x".into()), "{run:?}");
    assert_eq!((&rows[0]["expiry"], &rows[1]["record_type"]), (&"2026-12-20T00:00:00Z".into(), &"trusted".into()));

    // Feeds of the command line come with it; what the file describes is not read twice.
    let (run, report) =
        build(&program, &["--config", "feeds/feeds.toml", "--source", "rest", "feeds/lists", "names.txt"]);
    assert_eq!((run.code, &report["records"]), (Some(0), &7.into()), "{run:?}");
    assert_eq!(sources(&program), counts(&[("a", 3), ("b", 1), ("good", 1), ("odd", 1), ("rest", 1)]));

    let (run, report) =
        build(&program, &["--config", "feeds/feeds.toml", "--min-confidence", "50", "--max-shrink=100"]);
    assert_eq!(run.code, Some(3), "min-records: {run:?}");
    assert_eq!(report["problems"][0], "lists/*.txt: 0 records, expected at least 4 (min-records)", "{report}");
    config(5);
    assert_eq!(build(&program, &["--config", "feeds/feeds.toml"]).0.code, Some(3), "a guarded record does not count");

    program.write("feeds/feeds.toml", "[[feed]]\npath = \"good.txt\"\n\nsurce = \"x\"\n");
    let (run, _) = build(&program, &["--config", "feeds/feeds.toml"]);
    assert_eq!(run.code, Some(2), "{run:?}");
    assert!(run.err.contains("feeds.toml") && run.err.contains("line 4") && run.err.contains("surce"), "{run:?}");
    let (run, _) = build(&program, &["--config", "feeds/feeds.toml", "--trusted"]);
    assert_eq!(run.code, Some(2), "an option for feeds that are not there: {run:?}");
}

/// Prevents: a folder of warninglists that must be listed one by one, and a README whose words become guards.
#[test]
fn a_folder_of_guards_is_read() {
    let program = Program::new();
    program.write("guards/deep/list.txt", "evil.example\n");
    program.write("guards/README.md", "These are lists.\nSee names.example for more!\nevil2.example\nAnd so on...\n");
    program.write("names2.txt", "||evil2.example^\n||evil.example^\n");
    let (run, report) = build(&program, &["--guard", "guards", "names2.txt"]);
    assert_eq!((run.code, &report["records"]), (Some(0), &1.into()), "{run:?}");
    assert!(run.err.contains("README.md: not a guard list"), "{run:?}");
    let (run, _) = build(&program, &["--guard", "absent", "names2.txt"]);
    assert_eq!(run.code, Some(2), "{run:?}");
}

/// Prevents: a refused row that cannot be found in its list.
#[test]
fn every_refusal_is_reported_with_its_line_and_reason() {
    let program = Program::new();
    let rows: String = (0..1_500).map(|n| format!("word {n},x\n")).collect();
    program.write("bad.csv", &format!("sha256,name\n{SHA256},x\n{rows}{},x\n", "0".repeat(64)));
    let refusals = |args: &[&str]| {
        let (run, report) = build(&program, &[args, &["--columns", "hash,name", "bad.csv"]].concat());
        assert_eq!(run.code, Some(0), "{run:?}");
        let file = &report["files"][0];
        (file["refusals"].as_array().unwrap().clone(), file["refusals_omitted"].as_u64().unwrap())
    };
    let (listed, omitted) = refusals(&[]);
    assert_eq!((listed.len(), omitted), (1_000, 501));
    let (listed, omitted) = refusals(&["--report-limit", "2000"]);
    assert_eq!((listed.len(), omitted), (1_501, 0));
    for (at, refusal) in listed.iter().enumerate() {
        assert_eq!(refusal["line"], at + 3, "{refusal}");
        assert!(!refusal["reason"].as_str().unwrap().is_empty(), "{refusal}");
    }
    assert_eq!((&listed[7]["text"], &listed[7]["outcome"]), (&"word 7,x".into(), &"rejected".into()));
    assert_eq!(listed[1_500]["outcome"], "withheld");
    assert_eq!(refusals(&["--report-limit", "0"]), (vec![], 1_501));
    let text = program.run(&["build", "-o", "x.ksn", "--columns", "hash,name", "bad.csv"]);
    for line in ["line 3: word 0,x", "line 4: word 1,x", "line 5: word 2,x"] {
        assert!(text.err.contains(line), "{line}: {text:?}");
    }
    assert!(text.err.lines().count() < 20, "{text:?}");
}
