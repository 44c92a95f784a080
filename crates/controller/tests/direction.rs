//! The direction of the rooms: who imports whom. No arrow goes up, and none goes round in a circle, so that what is
//! below can be read, and tested, without what is above.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by them")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use syn::{
    Attribute, File, ItemMod, ItemUse, UseTree,
    visit::{self, Visit},
};

/// The floors of `crates/controller`, from the lowest to the highest. A room may import what is below it, and its
/// neighbours.
const FLOORS: [&[&str]; 6] = [
    &["error", "fair", "metrics", "pulse", "settings"],
    &["cluster", "queue", "line", "locks", "pages", "pool"],
    &["stores", "memory", "write", "notify", "workshop", "watch", "labels", "namespaces"],
    &["kinds"],
    &["context"],
    &["run"],
];

/// Which room imports which, and one file that does.
type Arrows = BTreeMap<(String, String), PathBuf>;

#[test]
fn the_controller_has_no_arrow_that_goes_up_or_round() {
    let arrows = arrows("../controller/src");
    let up: Vec<String> = arrows
        .iter()
        .filter(|((from, to), _)| floor(from) < floor(to))
        .map(|((from, to), file)| format!("{from} -> {to} goes up ({})", file.display()))
        .collect();
    assert!(up.is_empty(), "{}", up.join("\n"));
    assert_eq!(circle(&arrows), None);
}

#[test]
fn the_core_has_no_arrow_that_goes_round() {
    assert_eq!(circle(&arrows("../core/src")), None);
}

/// Clippy reads one file of rules only.
#[test]
fn the_rules_of_the_workspace_hold_in_the_controller_too() {
    let [all, here] = ["../../clippy.toml", "clippy.toml"]
        .map(|file| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap());
    let missing: Vec<&str> = all.lines().filter(|line| !here.lines().any(|other| other == *line)).collect();
    assert!(missing.is_empty(), "crates/controller/clippy.toml lacks {missing:#?}");
}

#[test]
fn what_is_wrong_is_found() {
    let arrows = |pairs: &[(&str, &str)]| -> Arrows {
        pairs.iter().map(|(from, to)| (((*from).to_owned(), (*to).to_owned()), PathBuf::new())).collect()
    };
    assert_eq!(circle(&arrows(&[("a", "b"), ("b", "c"), ("a", "c")])), None);
    let found = circle(&arrows(&[("a", "b"), ("b", "c"), ("c", "d"), ("d", "b")]));
    assert_eq!(found.as_deref(), Some("b -> c -> d -> b"));
    let text = "use crate::{a::A, b::{self, B}};\n#[cfg(test)] use crate::no;\nfn f() { crate::c::g(); }\n\
                #[cfg(test)] mod tests { use crate::no::X; }\nuse super::d; use std::fmt;";
    assert_eq!(imports(text), ["a", "b", "c"].map(str::to_owned).into());
    assert_eq!(
        exported("pub mod a;\npub use b::{C, D};"),
        ["C", "D"].map(|name| (name.to_owned(), "b".to_owned())).into()
    );
}

fn floor(room: &str) -> usize {
    let found = FLOORS.iter().position(|rooms| rooms.contains(&room));
    found.unwrap_or_else(|| panic!("the room {room} has no floor yet: see ARCHITECTURE.md, and add it to FLOORS"))
}

/// A way that comes back to where it started.
fn circle(arrows: &Arrows) -> Option<String> {
    let from = |room: &str| -> Vec<String> {
        arrows.keys().filter(|(from, _)| from == room).map(|(_, to)| to.clone()).collect()
    };
    let mut known: BTreeSet<String> = BTreeSet::new();
    for (start, _) in arrows.keys() {
        let mut way: Vec<(String, Vec<String>)> = vec![(start.clone(), from(start))];
        while let Some((room, next)) = way.last_mut() {
            let Some(to) = next.pop() else {
                known.insert(room.clone());
                way.pop();
                continue;
            };
            if let Some(begin) = way.iter().position(|(room, _)| *room == to) {
                let rooms = way[begin..].iter().map(|(room, _)| room.as_str()).chain([to.as_str()]);
                return Some(rooms.collect::<Vec<_>>().join(" -> "));
            }
            if !known.contains(&to) {
                way.push((to.clone(), from(&to)));
            }
        }
    }
    None
}

/// The arrows between the rooms of a crate: modules right below its root. Tests may import what they like.
fn arrows(source: &str) -> Arrows {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
    let text = fs::read_to_string(source.join("lib.rs")).unwrap();
    let (exported, for_tests) = (exported(&text), for_tests(&text));
    let mut arrows = Arrows::new();
    for file in files(&source) {
        let inside = file.strip_prefix(&source).unwrap().to_owned();
        let room = inside.iter().next().unwrap().to_string_lossy().trim_end_matches(".rs").to_owned();
        if room == "lib" || for_tests.contains(&room) {
            continue; // the root names all rooms
        }
        let imported = imports(&fs::read_to_string(&file).unwrap()).into_iter();
        let imported = imported.map(|name| exported.get(&name).cloned().unwrap_or(name));
        for to in imported.filter(|to| *to != room) {
            arrows.entry((room.clone(), to)).or_insert_with(|| inside.clone());
        }
    }
    assert!(!arrows.is_empty(), "nothing was read below {}", source.display());
    arrows
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        match path.is_dir() {
            _ if name == "tests" || name == "tests.rs" => {}
            true => all.extend(files(&path)),
            false => all.push(path),
        }
    }
    all.sort();
    all
}

/// Rooms that tests alone have.
fn for_tests(text: &str) -> BTreeSet<String> {
    let items = syn::parse_str::<File>(text).unwrap().items.into_iter();
    let rooms = items.filter_map(|item| match item {
        syn::Item::Mod(room) if is_for_tests(&room.attrs) => Some(room.ident.to_string()),
        _ => None,
    });
    rooms.collect()
}

/// What the root of a crate exports beside its rooms, and from which room.
fn exported(root: &str) -> BTreeMap<String, String> {
    let mut exported = BTreeMap::new();
    for item in syn::parse_str::<File>(root).unwrap().items {
        if let syn::Item::Use(ItemUse { tree: UseTree::Path(path), .. }) = item {
            let mut names = BTreeSet::new();
            first_names(&path.tree, &mut names);
            exported.extend(names.into_iter().map(|name| (name, path.ident.to_string())));
        }
    }
    exported
}

/// What a file imports from the root of its crate: rooms, or what the root itself exports.
fn imports(text: &str) -> BTreeSet<String> {
    let mut imports = Imports::default();
    imports.visit_file(&syn::parse_str::<File>(text).unwrap());
    imports.0
}

#[derive(Default)]
struct Imports(BTreeSet<String>);

impl Visit<'_> for Imports {
    fn visit_item_mod(&mut self, module: &ItemMod) {
        if !is_for_tests(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_use(&mut self, item: &ItemUse) {
        if let UseTree::Path(path) = &item.tree
            && path.ident == "crate"
            && !is_for_tests(&item.attrs)
        {
            first_names(&path.tree, &mut self.0);
        }
    }

    fn visit_path(&mut self, path: &syn::Path) {
        let mut names = path.segments.iter().map(|segment| segment.ident.to_string());
        if names.next().as_deref() == Some("crate") {
            self.0.extend(names.next());
        }
        visit::visit_path(self, path);
    }
}

fn first_names(tree: &UseTree, names: &mut BTreeSet<String>) {
    match tree {
        UseTree::Path(path) => drop(names.insert(path.ident.to_string())),
        UseTree::Name(name) => drop(names.insert(name.ident.to_string())),
        UseTree::Rename(rename) => drop(names.insert(rename.ident.to_string())),
        UseTree::Group(group) => group.items.iter().for_each(|tree| first_names(tree, names)),
        UseTree::Glob(_) => drop(names.insert("*".to_owned())),
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|what| what == "test")
    })
}
