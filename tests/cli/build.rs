//! Prevents `build`, `inspect`, `explain` and `demo` from losing rows without a report, writing different bytes for the
//! same feeds, and accepting damaged files.

use std::fs;

use serde_json::Value;

use crate::program::{Program, SHA256};

/// Prevents a report whose numbers do not add up, or whose fields disappear.
#[test]
fn report_accounts_for_every_row() {
    let program = Program::new();
    program.write("more.csv", &format!("sha256,signature\n{SHA256},Made.Up\n{},Zero\nword,Bad\n", "0".repeat(64)));
    let ran =
        program.run(&["build", "-o", "records.ksn", "--report", "json", "--source", "x", "hashes.csv", "more.csv"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    let files = report["files"].as_array().unwrap();
    assert_eq!(files.len(), 2);
    for file in files {
        for field in ["rows", "records", "duplicates", "withheld", "unsupported", "rejected"] {
            assert!(file[field].is_u64(), "{field}: {file}");
        }
        assert!(file["reasons"].is_object() && file["refusals"].is_array() && file["format"] == "csv", "{file}");
    }
    let more = &files[1];
    assert_eq!((&more["rows"], &more["withheld"], &more["rejected"]), (&3.into(), &1.into(), &1.into()), "{more}");
    assert_eq!(more["refusals"].as_array().unwrap().len(), 2);
    assert!(more["refusals"][0]["line"].is_u64() && more["refusals"][0]["reason"].is_string(), "{more}");
    let sum = |field: &str| report["totals"][field].as_u64().unwrap();
    assert_eq!(sum("rows"), 4);
    assert_eq!(sum("records") - sum("duplicates"), report["records"].as_u64().unwrap());
    assert_eq!(sum("duplicates"), 1, "{report}");
}

/// Prevents bytes that depend on the order of files, on the clock or on the machine.
#[test]
fn same_feeds_give_the_same_bytes() {
    let program = Program::new();
    let build = |name: &str, feeds: [&str; 2]| {
        let created = ["--created", "2026-11-22T10:00:00Z"];
        let ran = program.run(&[&["build", "-o", name][..], &created, &feeds].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        fs::read(program.path(name)).unwrap()
    };
    assert_eq!(build("a.ksn", ["hashes.csv", "names.txt"]), build("b.ksn", ["names.txt", "hashes.csv"]));
    let mut command = program.command(&["build", "-o", "-", "hashes.csv", "names.txt"]);
    let piped = command.env("SOURCE_DATE_EPOCH", "1795341600").output().unwrap();
    assert_eq!(piped.stdout, fs::read(program.path("a.ksn")).unwrap());
}

/// Prevents a mistyped file name that silently omits its records, and a folder that must not contain a README.
#[test]
fn a_named_file_must_be_a_feed_but_a_file_in_a_folder_need_not() {
    let program = Program::new();
    let prose = "These are the lists that we use.\nPlease ask before you change one of them!\n";
    program.write("README", prose);
    program.write("folder/README", prose);
    program.write("folder/deep/names.txt", "||evil.example^\n");
    let ran = program.run(&["build", "-o", "records.ksn", "hashes.csv", "README"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.err.contains("README") && !program.path("records.ksn").exists(), "{ran:?}");
    let ran = program.run(&["build", "-o", "records.ksn", "--report", "json", "folder"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert!(report["files"][0]["error"].is_string(), "{report}");
    assert_eq!(report["records"], 1);
    for args in
        [&["build", "-o", "x.ksn", "absent.csv"][..], &["build", "-o", "x.ksn", "--format", "nope", "hashes.csv"]]
    {
        let ran = program.run(args);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.err.contains("absent.csv") || ran.err.contains("expected one of malwarebazaar"), "{ran:?}");
    }
}

/// Prevents guards, ages and trust that are accepted and then not applied.
#[test]
fn options_are_applied_by_the_readers() {
    let program = Program::new();
    program.write("guard.txt", "evil.example\n");
    let any = ["--allow-empty", "--max-shrink", "100"];
    let records = |args: &[&str]| {
        let ran = program
            .run(&[&["build", "-o", "r.ksn", "--report", "json", "--created", "2026-11-22"], &any[..], args].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        serde_json::from_str::<Value>(&ran.out).unwrap()["records"].as_u64().unwrap()
    };
    assert_eq!(records(&["hashes.csv"]), 1);
    assert_eq!(records(&["--max-age", "7d", "hashes.csv"]), 0);
    assert_eq!(records(&["--max-age", "4w", "hashes.csv"]), 1);
    let all = records(&["names.txt"]);
    assert_eq!(records(&["--guard", "guard.txt", "names.txt"]), all - 1);
    records(&["--trusted", "--source", "ours", "hashes.csv"]);
    let ran = program.run(&["lookup", "--json", "--db", "r.ksn", SHA256]);
    let row = &ran.objects()[0];
    assert_eq!((ran.code, &row["record_type"], &row["source"]), (Some(0), &"trusted".into(), &"ours".into()), "{row}");
}

/// Prevents records that were written but cannot be found, and a damaged file that is served.
#[test]
fn inspect_prints_metadata_and_verifies() {
    let program = Program::with_records();
    let ran = program.run(&["inspect", "--json", "--verify", "records.ksn"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let metadata: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(metadata["dataset"], "local");
    assert_eq!(metadata["created"], "2026-11-22T00:00:00Z");
    assert_eq!(metadata["records"]["sha256"], 1);
    assert_eq!(metadata["verified"]["misses"], 0);
    assert!(
        metadata["compiled_with"]["ksn"].is_string() && metadata["compiled_with"]["public-suffix-list"].is_string()
    );
    let ran = program.run(&["inspect", "--verify", "records.ksn"]);
    assert!(ran.out.contains("0 misses"), "{ran:?}");
}

/// Prevents answers from a damaged section, and lookups that read and verify more than they need.
#[test]
fn only_the_kinds_that_are_looked_up_are_read_and_verified() {
    let program = Program::with_records();
    let metadata: Value = serde_json::from_str(&program.run(&["inspect", "--json", "records.ksn"]).out).unwrap();
    let mut sections = metadata["sections"].as_array().unwrap().iter();
    let text = sections.find(|section| section["role"] == "ExpressionText").unwrap();
    let mut bytes = fs::read(program.path("records.ksn")).unwrap();
    bytes[text["offset"].as_u64().unwrap() as usize] ^= 1;
    fs::write(program.path("damaged.ksn"), bytes).unwrap();
    for args in [
        &["inspect", "damaged.ksn"][..],
        &["serve", "--db", "damaged.ksn", "--listen", "127.0.0.1:0", "--log", "off"],
        &["lookup", "--db", "damaged.ksn", "evil.example"],
        &["explain", "--db", "damaged.ksn", "evil.example"],
    ] {
        let ran = program.run(args);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{ran:?}");
        assert!(ran.err.contains("damaged.ksn") && ran.err.contains("ExpressionText"), "{ran:?}");
    }

    // Digests are looked up without that section.
    let ran = program.run(&["lookup", "--json", "--db", "damaged.ksn", SHA256]);
    assert_eq!((ran.code, &ran.objects()[0]["status"]), (Some(1), &"known".into()), "{ran:?}");
    program.write("file", "made up");
    for args in [&["scan", "--db", "damaged.ksn", "file"][..], &["explain", "--db", "damaged.ksn", SHA256]] {
        let ran = program.run(args);
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }

    // Of keys that arrive one after another, each kind is read when it is looked up first.
    let keys: Vec<&str> = [SHA256; 3_000].into_iter().chain(["evil.example"]).collect();
    let ran = program.run_with_input(&["lookup", "--json", "--db", "records.ksn", "-"], keys.join("\n").as_bytes());
    let known = ran.objects().iter().filter(|row| row["status"] == "known").count();
    assert_eq!((ran.code, known, ran.err.as_str()), (Some(1), keys.len(), ""));
}

/// Prevents an explanation that disagrees with the lookup.
#[test]
fn explain_prints_the_probes_and_why_a_record_wins() {
    let program = Program::with_records();
    let ran = program.run(&["explain", "--db", "records.ksn", "hxxp://a.evil[.]example:8080/x/../y?z"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for part in ["url:a.evil.example/y?z", "domain     evil.example", "reason     it is the only match"] {
        assert!(ran.out.contains(part), "{part}: {ran:?}");
    }
    assert_eq!(program.run(&["explain", "word"]).code, Some(2));
}

/// Prevents a demo that fails, and help texts that clap rejects at run time.
#[test]
fn demo_and_help() {
    let program = Program::new();
    let ran = program.run(&["demo"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for kind in ["sha256:", "blake3:", "cert-md5:", "spki-sha1:", "evil[.]example", "192.0.2.7", "unknown"] {
        assert!(ran.out.contains(kind), "{kind}: {ran:?}");
    }
    for command in ["build", "inspect", "serve", "lookup", "explain", "scan", "ping", "verify", "demo"] {
        assert_eq!(program.run(&[command, "--help"]).code, Some(0), "{command}");
    }
}
