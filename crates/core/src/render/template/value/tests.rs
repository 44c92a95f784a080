use super::*;

#[test]
fn what_is_deep_is_dropped_without_a_deep_stack() {
    let mut deep = Value::Nil;
    for _ in 0..200_000 {
        let map = Map::new(Of::Any);
        map.insert("a".into(), deep);
        deep = Value::List(List::of_any(vec![map.into()]));
    }
    drop(deep);
}

#[test]
fn a_change_is_seen_by_all_and_a_type_says_no_value() {
    let map = Map::new(Of::Any);
    let other = map.clone();
    map.insert("pin".into(), Value::int(1234));
    assert!(other.has(b"pin") && other.is_same(&map));
    assert_eq!(format!("{:?} {:?}", Value::Map(other), map.get(b"pin")), "map[string]interface {} Some(int)");
}
