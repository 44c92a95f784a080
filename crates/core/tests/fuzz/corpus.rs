//! What was found once.

use std::{collections::BTreeMap, fs, path::Path};

use crate::{
    generated,
    meter::{Taken, measured},
    world::{read, rendered},
};

#[test]
fn all_of_the_corpus_ends_in_time() {
    let directory = Path::new("tests/corpus");
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 20, "{files:?}");
    let stored = read(&generated::values());
    for file in files {
        let templates = BTreeMap::from([("t".to_owned(), fs::read_to_string(&file).unwrap())]);
        let (result, taken) = measured(|| rendered(&templates, &stored));
        let name = file.file_name().unwrap().to_string_lossy();
        let end = match &result {
            Ok(_) => "rendered".to_owned(),
            Err(error) => error.to_string(),
        };
        println!("{name}: {:?}, {} KiB: {end}", taken.time, taken.memory / 1024);
        assert!(taken.is_within(Taken::MOST), "{name}: {taken:?}: {end}");
        if name.starts_with("good-") {
            assert_eq!(end, "rendered", "{name}");
        } else {
            assert!(result.is_err(), "{name} was rendered");
        }
    }
}
