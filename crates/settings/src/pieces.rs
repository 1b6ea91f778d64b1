//! Pieces that a configuration chooses by `type`: an estimator, an objective, a tool, an
//! environment; ours, and those that a program of its own has registered.
//!
//! A piece is a struct of settings that implements the trait of its kind. A [`Registry`] knows the
//! pieces of a kind by name, and [`Chosen`] is one of them with its settings. serde has no way to
//! hand a registry to what it reads, so [`Registry::while_reading`] makes it known to the thread for
//! as long as something is read; where none is, those that we ship are known.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::UnitDeserializer;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::fmt::{self, Debug};
use std::ops::Deref;
use std::sync::Arc;
use toml::{Table, Value};

/// What the settings of a piece are: plain data that can be read, written and described.
pub trait Settings:
    Serialize + DeserializeOwned + JsonSchema + Clone + Debug + Send + Sync + 'static
{
}

impl<T> Settings for T where
    T: Serialize + DeserializeOwned + JsonSchema + Clone + Debug + Send + Sync + 'static
{
}

/// A kind of piece; implemented by the trait object that all pieces of the kind become.
pub trait Piece: Send + Sync + 'static {
    /// What one is called in messages: `estimator`.
    const KIND: &'static str;

    /// Keys that stand beside a piece's own settings, so that none of them may be called so.
    const RESERVED: &'static [&'static str] = &["type"];

    /// Those that we ship.
    fn shipped() -> Arc<Registry<Self>>;
}

/// The settings of a piece, its name among them, and the piece.
type Read<P> = dyn Fn(Table) -> Result<Chosen<P>, String> + Send + Sync;

struct Entry<P: ?Sized> {
    name: String,
    read: Arc<Read<P>>,
    schema: fn(&mut SchemaGenerator) -> Schema,
}

impl<P: ?Sized> Clone for Entry<P> {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), read: self.read.clone(), schema: self.schema }
    }
}

/// The pieces of a kind, by name, in the order in which they were registered.
pub struct Registry<P: ?Sized> {
    entries: Vec<Entry<P>>,
}

impl<P: ?Sized> Default for Registry<P> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<P: ?Sized> Clone for Registry<P> {
    fn clone(&self) -> Self {
        Self { entries: self.entries.clone() }
    }
}

impl<P: ?Sized> Debug for Registry<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entries.iter().map(|entry| &entry.name)).finish()
    }
}

impl<P: Piece + ?Sized> Registry<P> {
    /// Adds a piece: `type = "name"` then stands for settings of the type `T`. `erase` turns them
    /// into what all pieces of the kind are, `|piece| Arc::new(piece)`.
    ///
    /// # Panics
    /// When the name is taken, or is not made of small letters, digits, `_` and `-`; when a setting
    /// has the name of a key that all pieces of the kind have, such as `type`.
    #[track_caller]
    pub fn register<T: Settings>(&mut self, name: &str, erase: fn(T) -> Arc<P>) {
        let kind = P::KIND;
        let is_plain =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
        assert!(
            !name.is_empty() && name.chars().all(is_plain),
            "`{name}` cannot be the name of a piece ({kind}): use small letters, digits, `_` and `-`"
        );
        assert!(self.entry(name).is_none(), "there is a piece `{name}` ({kind}) already");
        let taken = P::RESERVED.iter().find(|key| properties_of::<T>().contains_key(**key));
        assert!(
            taken.is_none(),
            "a setting of `{name}` ({kind}) is called `{}`, which means something else there",
            taken.copied().unwrap_or_default()
        );
        let own_name: Arc<str> = name.into();
        let read = move |table: Table| {
            let settings: T = read_settings(table).map_err(with_common_keys::<P>)?;
            Chosen::new(&own_name, settings, erase)
        };
        self.entries.push(Entry {
            name: name.to_owned(),
            read: Arc::new(read),
            schema: |generator| generator.subschema_for::<T>(),
        });
    }

    /// The names, in the order of registration.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.name.as_str())
    }

    /// The names in words: `` `math`, `qa` ``.
    pub fn listed(&self) -> String {
        self.names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    }

    /// The piece of that name with these settings; those that are not given have their defaults.
    ///
    /// # Errors
    /// When there is no such piece, or a setting is refused.
    pub fn choose(&self, name: &str, settings: Table) -> Result<Chosen<P>, String> {
        let entry = self.entry(name).ok_or_else(|| {
            let known = self.listed();
            let one_of = if self.entries.len() > 1 { "one of " } else { "" };
            // serde's own words, of which `read_toml` makes better ones
            format!("unknown variant `{name}`, expected {one_of}{known}")
        })?;
        (entry.read)(settings)
    }

    /// Does something that reads settings; `type` then stands for the pieces of this registry.
    pub fn while_reading<R>(self: &Arc<Self>, work: impl FnOnce() -> R) -> R {
        IN_USE.with_borrow_mut(|in_use| in_use.push((TypeId::of::<Self>(), self.clone())));
        let _end = EndOfReading;
        work()
    }

    /// The registry by which this thread reads: the latest of [`Self::while_reading`], or what we
    /// ship.
    pub fn in_use() -> Arc<Self> {
        let found = IN_USE.with_borrow(|in_use| {
            let own = in_use.iter().rev().find(|(id, _)| *id == TypeId::of::<Self>());
            own.map(|(_, registry)| registry.clone())
        });
        let found = found.and_then(|registry| registry.downcast::<Self>().ok());
        found.unwrap_or_else(P::shipped)
    }

    /// What a configuration may say of a piece of this kind: a `type`, and the settings that belong
    /// to it. `common` are settings that each has besides.
    pub fn schema(&self, generator: &mut SchemaGenerator, common: &[(String, Schema)]) -> Schema {
        let variants: Vec<serde_json::Value> = self
            .entries
            .iter()
            .map(|entry| {
                let schema = (entry.schema)(generator);
                let mut schema = resolved(generator, schema);
                let properties =
                    schema.entry("properties").or_insert_with(|| serde_json::json!({}));
                if let Some(properties) = properties.as_object_mut() {
                    for (name, schema) in common {
                        properties.insert(name.clone(), schema.clone().into());
                    }
                    properties
                        .insert("type".into(), serde_json::json!({ "const": entry.name.clone() }));
                }
                let required = schema.entry("required").or_insert_with(|| serde_json::json!([]));
                if let Some(required) = required.as_array_mut() {
                    required.push("type".into());
                }
                if schema.insert("type".into(), "object".into()) == Some("null".into()) {
                    schema.insert("additionalProperties".into(), false.into());
                }
                schema.into()
            })
            .collect();
        let mut schema = serde_json::Map::new();
        schema.insert("oneOf".into(), variants.into());
        schema.into()
    }

    fn entry(&self, name: &str) -> Option<&Entry<P>> {
        self.entries.iter().find(|entry| entry.name == name)
    }
}

/// What refuses an unknown key lists those, too, that all pieces of the kind have.
fn with_common_keys<P: Piece + ?Sized>(reason: String) -> String {
    let common = P::RESERVED.iter().filter(|key| **key != "type").map(|key| format!("`{key}`"));
    let common: Vec<String> = common.collect();
    if common.is_empty() || !reason.starts_with("unknown field") {
        return reason;
    }
    format!("{reason}; besides, each {} has {}", P::KIND, common.join(", "))
}

/// Settings from their table; `struct Name;`, without fields and braces, from an empty one.
fn read_settings<T: Settings>(table: Table) -> Result<T, String> {
    let first_key = table.keys().next().cloned();
    table.try_into().or_else(|error: toml::de::Error| {
        let nothing = UnitDeserializer::<toml::de::Error>::new();
        match (T::deserialize(nothing), first_key) {
            (Ok(unit), None) => Ok(unit),
            (Ok(_), Some(key)) => Err(format!("unknown field `{key}`, there are no settings")),
            (Err(_), _) => Err(error.message().to_owned()),
        }
    })
}

/// The settings of a piece, by the names that they have in a file.
fn properties_of<T: Settings>() -> serde_json::Map<String, serde_json::Value> {
    let mut generator = SchemaGenerator::default();
    let schema = generator.subschema_for::<T>();
    let mut schema = resolved(&generator, schema);
    match schema.remove("properties") {
        Some(serde_json::Value::Object(properties)) => properties,
        _ => serde_json::Map::new(),
    }
}

/// A schema that is a reference, as what it refers to; a struct around another has a description of
/// its own besides.
fn resolved(
    generator: &SchemaGenerator,
    schema: Schema,
) -> serde_json::Map<String, serde_json::Value> {
    let serde_json::Value::Object(mut object) = schema.to_value() else {
        return serde_json::Map::new();
    };
    while let Some(reference) = object.remove("$ref") {
        let name = reference.as_str().and_then(|reference| reference.rsplit('/').next());
        let found = name.and_then(|name| generator.definitions().get(name)).cloned();
        let Some(serde_json::Value::Object(target)) = found else { break };
        for (key, value) in target {
            object.entry(key).or_insert(value);
        }
    }
    object
}

thread_local! {
    /// The registries by which something is being read, the latest last.
    static IN_USE: RefCell<Vec<(TypeId, Arc<dyn Any + Send + Sync>)>> =
        const { RefCell::new(Vec::new()) };
}

/// Takes the latest registry away again, also where reading panics.
struct EndOfReading;

impl Drop for EndOfReading {
    fn drop(&mut self) {
        IN_USE.with_borrow_mut(Vec::pop);
    }
}

/// A piece with its settings, as a configuration has chosen it. It is written as it was read: a table
/// with a `type`.
pub struct Chosen<P: ?Sized> {
    name: Arc<str>,
    settings: Table,
    piece: Arc<P>,
}

impl<P: ?Sized> Chosen<P> {
    /// A piece that a program builds, by the name under which it is registered.
    ///
    /// # Errors
    /// When TOML cannot express the settings, as a whole number beyond 2^63.
    pub fn new<T: Settings>(
        name: &str,
        settings: T,
        erase: fn(T) -> Arc<P>,
    ) -> Result<Self, String> {
        // a struct without fields and braces is written as nothing
        let table = match serde_json::to_value(&settings) {
            Ok(serde_json::Value::Null) => Table::new(),
            _ => Table::try_from(&settings).map_err(|error| error.to_string())?,
        };
        Ok(Self { name: name.into(), settings: table, piece: erase(settings) })
    }

    /// The same of settings that stand in the program itself.
    ///
    /// # Panics
    /// When TOML cannot express the settings.
    pub fn literal<T: Settings>(name: &str, settings: T, erase: fn(T) -> Arc<P>) -> Self {
        Self::new(name, settings, erase)
            .unwrap_or_else(|reason| panic!("the settings of `{name}`: {reason}"))
    }

    /// Its `type`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The piece itself.
    pub fn piece(&self) -> Arc<P> {
        self.piece.clone()
    }

    /// All its settings, without the `type`.
    pub fn settings(&self) -> &Table {
        &self.settings
    }

    /// The settings as the type that they are of; `None` for a piece of another name.
    pub fn settings_of<T: Settings>(&self, name: &str) -> Option<T> {
        (*self.name == *name).then(|| self.settings.clone().try_into().ok()).flatten()
    }
}

impl<P: ?Sized> Deref for Chosen<P> {
    type Target = P;

    fn deref(&self) -> &P {
        &self.piece
    }
}

impl<P: ?Sized> Clone for Chosen<P> {
    fn clone(&self) -> Self {
        let Self { name, settings, piece } = self;
        Self { name: name.clone(), settings: settings.clone(), piece: piece.clone() }
    }
}

impl<P: ?Sized> Debug for Chosen<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.name, self.settings)
    }
}

impl<P: ?Sized> PartialEq for Chosen<P> {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.settings == other.settings
    }
}

impl<P: ?Sized> Serialize for Chosen<P> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let name = [("type", Value::String(self.name.to_string()))];
        let settings = self.settings.iter().map(|(key, value)| (key.as_str(), value.clone()));
        serializer.collect_map(name.into_iter().chain(settings))
    }
}

impl<'de, P: Piece + ?Sized> Deserialize<'de> for Chosen<P> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut settings = Table::deserialize(deserializer)?;
        let name = match settings.remove("type") {
            None => return Err(D::Error::missing_field("type")),
            Some(Value::String(name)) => name,
            Some(other) => other.to_string(),
        };
        Registry::<P>::in_use().choose(&name, settings).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Share, read_toml};

    trait Shape: Send + Sync {
        fn area(&self) -> f64;
    }

    impl Piece for dyn Shape {
        const KIND: &'static str = "shape";

        fn shipped() -> Arc<Registry<Self>> {
            let mut shapes = Registry::<dyn Shape>::default();
            shapes.register("square", |shape: Square| Arc::new(shape));
            Arc::new(shapes)
        }
    }

    /// A square.
    #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Square {
        /// Of each side.
        length: Share,
    }

    impl Shape for Square {
        fn area(&self) -> f64 {
            self.length.get() * self.length.get()
        }
    }

    #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields, default)]
    struct Circle {
        radius: Share,
        filled: bool,
    }

    impl Default for Circle {
        fn default() -> Self {
            Self { radius: Share::literal(0.5), filled: false }
        }
    }

    impl Shape for Circle {
        fn area(&self) -> f64 {
            3.0 * self.radius.get() * self.radius.get()
        }
    }

    fn with_circle() -> Arc<Registry<dyn Shape>> {
        let mut shapes = (*<dyn Shape>::shipped()).clone();
        shapes.register("circle", |shape: Circle| Arc::new(shape));
        Arc::new(shapes)
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Drawing {
        shape: Chosen<dyn Shape>,
        #[serde(default)]
        #[expect(dead_code, reason = "only read")]
        more: Vec<Chosen<dyn Shape>>,
    }

    #[test]
    fn a_piece_is_chosen_by_its_type_and_written_with_its_defaults() {
        let drawing: Drawing =
            with_circle().while_reading(|| read_toml("[shape]\ntype = \"circle\"")).unwrap();
        assert_eq!(drawing.shape.area(), 0.75);
        let text = toml::to_string(&drawing.shape).unwrap();
        assert_eq!(text, "type = \"circle\"\nradius = 0.5\nfilled = false\n");
        let again: Chosen<dyn Shape> =
            with_circle().while_reading(|| toml::from_str(&text)).unwrap();
        assert_eq!(again, drawing.shape);
        assert!(again.settings_of::<Circle>("circle").is_some());
        assert!(again.settings_of::<Circle>("square").is_none());
    }

    #[test]
    fn what_is_not_registered_is_named_with_what_is() {
        let read = |text: &str| read_toml::<Drawing>(text).unwrap_err().to_string();
        let circle = "more = []\n[shape]\ntype = \"circle\"\n";
        let error = read(circle);
        assert!(
            error.contains("line 3") && error.contains("`circle` is none of `square`"),
            "{error}"
        );
        // and not any more once the other registry is not in use
        assert!(with_circle().while_reading(|| read_toml::<Drawing>(circle)).is_ok());
        assert_eq!(read(circle), error);
    }

    #[test]
    fn settings_of_pieces_are_refused_with_key_and_place() {
        let read = |text: &str| {
            with_circle().while_reading(|| read_toml::<Drawing>(text)).unwrap_err().to_string()
        };
        let range = read("[shape]\nfilled = true\nradius = 7\ntype = \"circle\"");
        assert!(range.contains("line 3, column 10"), "{range}");
        assert!(range.ends_with("`shape.radius`: `7` is not a number from 0 to 1"), "{range}");
        let unknown = read("[shape]\ntype = \"circle\"\nradius = 0.5\nfiled = true");
        assert!(unknown.contains("line 4, column 1"), "{unknown}");
        assert!(
            unknown.contains("unknown field `filed`, expected `radius` or `filled`"),
            "{unknown}"
        );
        let list = read("shape = { type = \"circle\" }\n[[more]]\ntype = \"square\"");
        assert!(list.contains("line 2") && list.contains("missing field `length`"), "{list}");
    }

    #[test]
    fn the_schema_lists_all_pieces_with_their_settings() {
        let mut generator = SchemaGenerator::default();
        let schema = with_circle().schema(&mut generator, &[]).to_value();
        let types: Vec<&str> = schema["oneOf"]
            .as_array()
            .unwrap()
            .iter()
            .map(|variant| variant["properties"]["type"]["const"].as_str().unwrap())
            .collect();
        assert_eq!(types, ["square", "circle"]);
        let square = &schema["oneOf"][0];
        assert_eq!(square["required"], serde_json::json!(["length", "type"]));
        assert_eq!(square["additionalProperties"], false);
        assert_eq!(square["description"], "A square.");
    }

    /// A tile, a square by another name.
    #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
    struct Tile(Square);

    impl Shape for Tile {
        fn area(&self) -> f64 {
            self.0.area()
        }
    }

    #[test]
    fn a_struct_around_settings_has_their_schema() {
        let mut shapes = Registry::<dyn Shape>::default();
        shapes.register("tile", |shape: Tile| Arc::new(shape));
        let schema = shapes.schema(&mut SchemaGenerator::default(), &[]).to_value();
        let tile = &schema["oneOf"][0];
        assert_eq!(tile["description"], "A tile, a square by another name.");
        assert_eq!(tile["properties"]["type"]["const"], "tile");
        assert_eq!(tile["properties"]["length"]["description"], "Of each side.");
        assert_eq!(tile["additionalProperties"], false);
        assert!(tile.get("$ref").is_none(), "{tile}");
    }

    /// A point has no settings, and is written without braces.
    #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
    struct Point;

    impl Shape for Point {
        fn area(&self) -> f64 {
            0.0
        }
    }

    #[test]
    fn a_piece_may_have_no_settings() {
        let mut shapes = (*<dyn Shape>::shipped()).clone();
        shapes.register("point", |shape: Point| Arc::new(shape));
        let schema = shapes.schema(&mut SchemaGenerator::default(), &[]).to_value();
        assert_eq!(schema["oneOf"][1]["additionalProperties"], false);
        let read =
            |text: &str| Arc::new(shapes.clone()).while_reading(|| read_toml::<Drawing>(text));
        let drawing = read("shape = { type = 'point' }").unwrap();
        assert_eq!(toml::to_string(&drawing.shape).unwrap(), "type = \"point\"\n");
        let error = read("shape = { type = 'point', size = 1 }").unwrap_err().to_string();
        assert!(error.contains("line 1, column 27"), "{error}");
        assert!(error.ends_with("unknown field `size`, there are no settings"), "{error}");
    }

    #[test]
    #[should_panic(expected = "a setting of `odd` (shape) is called `type`")]
    fn a_setting_is_not_called_like_what_all_pieces_have() {
        #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
        struct Odd {
            r#type: String,
        }
        impl Shape for Odd {
            fn area(&self) -> f64 {
                self.r#type.len() as f64
            }
        }
        Registry::<dyn Shape>::default().register("odd", |shape: Odd| Arc::new(shape));
    }

    #[test]
    #[should_panic(expected = "there is a piece `square` (shape) already")]
    fn a_name_is_registered_once() {
        let mut shapes = (*<dyn Shape>::shipped()).clone();
        shapes.register("square", |shape: Circle| Arc::new(shape));
    }
}
