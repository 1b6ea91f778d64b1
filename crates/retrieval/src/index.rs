//! The embedded retriever: BM25 (Robertson et al., 1994; k1 = 1.2, b = 0.75) over title and text,
//! by tantivy.
//!
//! An index is built once per corpus, in a folder named after the corpus's hash, and mapped into
//! memory from then on. Passages keep the order of the corpus, and equal scores are answered in
//! that order, so the same query finds the same passages on every machine.

use crate::analyzer::{characters, folded, has_runs, lone_characters, words};
use crate::corpus::CorpusReader;
use crate::passage::Passage;
use crate::{Hit, RetrievalError, RetrieveError, Retriever};
use std::path::{Path, PathBuf};
use std::time::Instant;
use tantivy::collector::TopDocs;
use tantivy::indexer::NoMergePolicy;
use tantivy::query::{BooleanQuery, Occur, Query, TermQuery};
use tantivy::schema::{
    FAST, Field, IndexRecordOption, STORED, STRING, Schema, TextFieldIndexing, TextOptions, Value,
};
use tantivy::tokenizer::{Language, StopWordFilter, TextAnalyzer};
use tantivy::{Index, IndexReader, IndexWriter, TantivyDocument, Term};

/// Changes with the fields of an index, so that old ones are not taken for new ones; for the terms
/// in them see [`terms_of_probe`].
const VERSION: &str = "3";
/// Bytes of postings that are held in memory before a segment is written.
const WRITER_MEMORY: usize = 256 << 20;
const WORDS: &str = "words";
const CHARACTERS: &str = "characters";
/// Terms of a query that are looked up; further ones are passed over.
const MAX_QUERY_TERMS: usize = 1024;

/// An index of passages.
pub struct PassageIndex {
    reader: IndexReader,
    fields: Fields,
    words: TextAnalyzer,
    without_stop_words: TextAnalyzer,
    lone_characters: TextAnalyzer,
}

#[derive(Clone, Copy)]
struct Fields {
    id: Field,
    title: Field,
    text: Field,
    /// What is searched: title and text.
    contents: Field,
    /// The same, as single characters of Chinese, Japanese and Korean.
    characters: Field,
    /// Place in the corpus.
    place: Field,
}

fn schema() -> (Schema, Fields) {
    let mut schema = Schema::builder();
    let indexed = |analyzer| {
        let indexing = TextFieldIndexing::default()
            .set_tokenizer(analyzer)
            .set_index_option(IndexRecordOption::WithFreqs);
        TextOptions::default().set_indexing_options(indexing)
    };
    let fields = Fields {
        id: schema.add_text_field("id", STRING | STORED),
        title: schema.add_text_field("title", STORED),
        text: schema.add_text_field("text", STORED),
        contents: schema.add_text_field("contents", indexed(WORDS)),
        characters: schema.add_text_field("characters", indexed(CHARACTERS)),
        place: schema.add_u64_field("place", FAST),
    };
    (schema.build(), fields)
}

/// The terms of a short text with words, numbers and runs in many forms: part of the name of an
/// index, so that one that was made by other rules is not taken.
fn terms_of_probe() -> String {
    const PROBE: &str = "The Running of Müller's ２０２４ tests, 東京都の猫はガｶﾞか\u{3099}, 한국어 iPhone手机, น้ำใจ ๒๕๖๗ ປະເທດ ប្រទេស မြန်မာ";
    let text = folded(PROBE);
    let mut terms = String::new();
    for mut analyzer in [words(None), characters()] {
        analyzer.token_stream(&text).process(&mut |token| {
            terms.push_str(&token.text);
            terms.push(' ');
        });
    }
    terms
}

fn cannot_access(path: &Path) -> impl FnOnce(std::io::Error) -> RetrievalError + use<> {
    let path = path.to_owned();
    move |source| RetrievalError::Access { path, source }
}

/// Builds the index of a corpus file: beside its place, and then renamed, so that what stands in
/// the place is whole.
fn build(
    corpus: &Path,
    folder: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), RetrievalError> {
    let broken = |reason: String| RetrievalError::Index { path: folder.to_owned(), reason };
    let unfinished = folder.with_extension(format!("unfinished-{}", std::process::id()));
    if unfinished.exists() {
        std::fs::remove_dir_all(&unfinished).map_err(cannot_access(&unfinished))?;
    }
    std::fs::create_dir_all(&unfinished).map_err(cannot_access(&unfinished))?;
    let index =
        Index::create_in_dir(&unfinished, schema().0).map_err(|error| broken(error.to_string()))?;
    let mut reader = CorpusReader::open(corpus)?;
    let mut rows = std::iter::from_fn(|| {
        let row = reader.next();
        let (read, size) = reader.progress();
        progress(read, size);
        row
    });
    let failure = match fill(&index, WRITER_MEMORY, &mut rows) {
        Ok(0) => Some(RetrievalError::Empty(corpus.into())),
        Ok(_) => None,
        Err(Filling::Row(error)) => Some(error),
        Err(Filling::Index(error)) => Some(broken(error.to_string())),
    };
    drop(index);
    if let Some(failure) = failure {
        // the unfinished folder is of no use to anyone
        let _ = std::fs::remove_dir_all(&unfinished);
        return Err(failure);
    }
    match std::fs::rename(&unfinished, folder) {
        // another process was faster, and its index is the same
        Err(_) if folder.exists() => {
            std::fs::remove_dir_all(&unfinished).map_err(cannot_access(&unfinished))
        }
        renamed => renamed.map_err(cannot_access(folder)),
    }
}

impl PassageIndex {
    /// The index of a corpus file, built in `cache` if it is not there yet. `progress` hears of
    /// bytes read and the file's size.
    ///
    /// ```
    /// use paretopo_retrieval::PassageIndex;
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     let folder = tempfile::tempdir()?;
    ///     let corpus = folder.path().join("corpus.jsonl");
    ///     std::fs::write(&corpus, r#"{"id": "1", "title": "Neptune", "text": "A planet."}"#)?;
    ///     let cache = folder.path().join("cache");
    ///     let mut heard = 0;
    ///     for _ in 0..2 {
    ///         let mut progress = |_read, _size| heard += 1;
    ///         let index = PassageIndex::open_or_build(&corpus, &cache, &mut progress)?;
    ///         assert_eq!(index.len(), 1);
    ///     }
    ///     // the line and the end of the file, once: the second time the index was there
    ///     assert_eq!(heard, 2);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// When the corpus cannot be read, a line of it is wrong, or the cache cannot be written.
    pub fn open_or_build(
        corpus: &Path,
        cache: &Path,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self, RetrievalError> {
        let mut hasher = blake3::Hasher::new();
        hasher.update_mmap(corpus).map_err(cannot_access(corpus))?;
        hasher.update(terms_of_probe().as_bytes());
        let folder =
            cache.join(format!("passages-v{VERSION}-{}", &hasher.finalize().to_hex()[..32]));
        let broken = |reason: String| RetrievalError::Index { path: folder.clone(), reason };
        if !folder.exists() {
            build(corpus, &folder, progress)?;
        }
        let index = Index::open_in_dir(&folder).map_err(|error| broken(error.to_string()))?;
        Self::over(&index).map_err(|error| broken(error.to_string()))
    }

    /// An index in memory.
    ///
    /// # Errors
    /// When there is no passage.
    pub fn in_memory(passages: &[Passage]) -> Result<Self, RetrievalError> {
        let nowhere = || PathBuf::from("(memory)");
        let broken = |error: tantivy::TantivyError| RetrievalError::Index {
            path: nowhere(),
            reason: error.to_string(),
        };
        let index = Index::create_in_ram(schema().0);
        match fill(&index, 32 << 20, &mut passages.iter().cloned().map(Ok)) {
            Ok(0) => Err(RetrievalError::Empty(nowhere())),
            Ok(_) => Self::over(&index).map_err(broken),
            Err(Filling::Row(error)) => Err(error),
            Err(Filling::Index(error)) => Err(broken(error)),
        }
    }

    fn over(index: &Index) -> tantivy::Result<Self> {
        Ok(Self {
            reader: index.reader()?,
            fields: schema().1,
            words: words(None),
            without_stop_words: words(StopWordFilter::new(Language::English)),
            lone_characters: lone_characters(),
        })
    }

    /// Number of passages.
    pub fn len(&self) -> u64 {
        self.reader.searcher().num_docs()
    }

    /// Whether there is none; never so for an index that was built here.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ids that several passages share: how many there are, and the first in the order of text;
    /// `None` where every passage has an id of its own.
    ///
    /// # Errors
    /// When the index's files cannot be read any more.
    pub fn repeated_ids(&self) -> Result<Option<(u64, String)>, RetrieveError> {
        let (mut count, mut first) = (0, None);
        let failed = |error: std::io::Error| RetrieveError::Failed(error.to_string());
        for segment in self.reader.searcher().segment_readers() {
            let index = segment
                .inverted_index(self.fields.id)
                .map_err(|error| RetrieveError::Failed(error.to_string()))?;
            // there are as many ids as passages, most of the time
            if index.terms().num_terms() as u64 == u64::from(segment.num_docs()) {
                continue;
            }
            let mut terms = index.terms().stream().map_err(failed)?;
            while terms.advance() {
                if terms.value().doc_freq > 1 {
                    count += 1;
                    first.get_or_insert_with(|| String::from_utf8_lossy(terms.key()).into_owned());
                }
            }
        }
        Ok(first.map(|first| (count, first)))
    }

    /// What a person should know of the ids of a corpus; `None` where every passage has its own.
    ///
    /// # Errors
    /// When the index's files cannot be read any more.
    pub fn note_of_ids(&self, corpus: &Path) -> Result<Option<String>, RetrieveError> {
        let note = |(count, first): (u64, String)| {
            let ids = if count == 1 { "1 id belongs" } else { &format!("{count} ids belong") };
            format!(
                "`{}`: {ids} to several passages each, such as `{first}`; all of them are found",
                corpus.display()
            )
        };
        Ok(self.repeated_ids()?.map(note))
    }

    /// Adds a query's terms of a field, up to [`MAX_QUERY_TERMS`] in all.
    fn add_terms(&self, found: &mut Terms, field: Field, analyzer: &TextAnalyzer, query: &str) {
        let mut analyzer = analyzer.clone();
        let mut tokens = analyzer.token_stream(query);
        while found.len() < MAX_QUERY_TERMS && tokens.advance() {
            let term = Term::from_field_text(field, &tokens.token().text);
            found.push((
                Occur::Should,
                Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs)),
            ));
        }
    }

    /// The best passages, best first, equal ones in the order of the corpus.
    ///
    /// # Errors
    /// When the index's files cannot be read any more.
    pub fn search(&self, query: &str, topk: usize) -> Result<Vec<Hit>, RetrieveError> {
        let (query, mut terms) = (folded(query), Vec::new());
        // stop words cost most of the time and find nothing, unless there is nothing else ("It Is")
        self.add_terms(&mut terms, self.fields.contents, &self.without_stop_words, &query);
        self.add_terms(&mut terms, self.fields.characters, &self.lone_characters, &query);
        if terms.is_empty() {
            self.add_terms(&mut terms, self.fields.contents, &self.words, &query);
        }
        if terms.is_empty() || topk == 0 {
            return Ok(Vec::new());
        }
        let failed = |error: tantivy::TantivyError| RetrieveError::Failed(error.to_string());
        let searcher = self.reader.searcher();
        let best = searcher
            .search(&BooleanQuery::new(terms), &TopDocs::with_limit(topk).order_by_score())
            .map_err(failed)?;
        let hit = |(score, address)| {
            let document: TantivyDocument = searcher.doc(address)?;
            let text = |field| {
                document
                    .get_first(field)
                    .and_then(|value| value.as_str().map(str::to_owned))
                    .unwrap_or_default()
            };
            let passage = Passage {
                id: text(self.fields.id),
                title: text(self.fields.title),
                text: text(self.fields.text),
            };
            Ok(Hit { passage, score })
        };
        best.into_iter().map(hit).collect::<tantivy::Result<_>>().map_err(failed)
    }
}

impl Retriever for PassageIndex {
    fn retrieve(
        &self,
        query: &str,
        topk: usize,
        _deadline: Instant,
    ) -> Result<Vec<Hit>, RetrieveError> {
        // takes milliseconds, so there is no deadline to watch
        self.search(query, topk)
    }
}

/// The terms of a query, any of which may be in a passage.
type Terms = Vec<(Occur, Box<dyn Query>)>;

enum Filling {
    Row(RetrievalError),
    Index(tantivy::TantivyError),
}

impl From<tantivy::TantivyError> for Filling {
    fn from(error: tantivy::TantivyError) -> Self {
        Self::Index(error)
    }
}

/// Writes the passages as one segment in the order of the corpus, and returns their number.
fn fill(
    index: &Index,
    memory: usize,
    passages: &mut dyn Iterator<Item = Result<Passage, RetrievalError>>,
) -> Result<u64, Filling> {
    let (_, fields) = schema();
    index.tokenizers().register(WORDS, words(None));
    index.tokenizers().register(CHARACTERS, characters());
    // one thread, so that segments are runs of the corpus
    let mut writer: IndexWriter = index.writer_with_num_threads(1, memory)?;
    writer.set_merge_policy(Box::new(NoMergePolicy));
    let mut count = 0;
    for passage in passages {
        let passage = passage.map_err(Filling::Row)?;
        let mut document = TantivyDocument::default();
        let contents = format!("{}\n{}", passage.title, passage.text);
        let contents = folded(&contents);
        document.add_text(fields.contents, &contents);
        if has_runs(&contents) {
            document.add_text(fields.characters, &contents);
        }
        document.add_text(fields.id, passage.id);
        document.add_text(fields.title, passage.title);
        document.add_text(fields.text, passage.text);
        document.add_u64(fields.place, count);
        writer.add_document(document)?;
        count += 1;
    }
    writer.commit()?;
    let mut segments = Vec::new();
    for segment in index.reader()?.searcher().segment_readers() {
        let first = segment.fast_fields().u64("place")?.first(0);
        segments.push((first, segment.segment_id()));
    }
    segments.sort();
    if segments.len() > 1 {
        let order: Vec<_> = segments.into_iter().map(|(_, segment)| segment).collect();
        writer.merge(&order).wait()?;
        writer.garbage_collect_files().wait()?;
    }
    writer.wait_merging_threads()?;
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(id: &str, title: &str, text: &str) -> Passage {
        Passage { id: id.into(), title: title.into(), text: text.into() }
    }

    fn ids(index: &PassageIndex, query: &str, topk: usize) -> Vec<String> {
        index.search(query, topk).unwrap().into_iter().map(|hit| hit.passage.id).collect()
    }

    #[test]
    fn scores_are_bm25() {
        let index = PassageIndex::in_memory(&[
            passage("a", "", "cat dog"),
            passage("b", "", "cat cat bird fish"),
            passage("c", "", "bird"),
        ])
        .unwrap();
        let hits = index.search("cat", 3).unwrap();
        // 3 passages, "cat" in 2: idf = ln(1 + (3 - 2 + 0.5) / (2 + 0.5)) = ln(1.6) = 0.470004
        // lengths 2, 4, 1, mean 7/3; score = idf * 2.2 * tf / (tf + 1.2 * (0.25 + 0.75 * length /
        // mean)) b: tf 2, length 4: 0.470004 * 4.4 / (2 + 1.2 * (0.25 + 0.75 * 12/7)) = 2.068016 /
        // 3.842857 = 0.538145 a: tf 1, length 2: 0.470004 * 2.2 / (1 + 1.2 * (0.25 + 0.75 * 6/7)) =
        // 1.034008 / 2.071429 = 0.499176
        let got: Vec<(&str, f32)> =
            hits.iter().map(|hit| (hit.passage.id.as_str(), hit.score)).collect();
        assert_eq!((got[0].0, got[1].0, got.len()), ("b", "a", 2));
        assert!(
            (got[0].1 - 0.538_145).abs() < 1e-4 && (got[1].1 - 0.499_176).abs() < 1e-4,
            "{got:?}"
        );
    }

    #[test]
    fn titles_count_endings_and_accents_do_not() {
        let index = PassageIndex::in_memory(&[
            passage("1", "Alû", "a demon"),
            passage("2", "Films", "directed by Müller"),
        ])
        .unwrap();
        assert_eq!(ids(&index, "ALU", 5), ["1"]);
        assert_eq!(ids(&index, "film director muller", 5), ["2"]);
        assert!(
            ids(&index, "", 5).is_empty()
                && ids(&index, "?!", 5).is_empty()
                && ids(&index, "demon", 0).is_empty()
        );
    }

    #[test]
    fn ids_that_passages_share_are_counted() {
        let of = |ids: &[&str]| {
            let passages: Vec<Passage> = ids.iter().map(|id| passage(id, "", "cat")).collect();
            PassageIndex::in_memory(&passages).unwrap().repeated_ids().unwrap()
        };
        assert_eq!(of(&["a", "b", "A"]), None);
        assert_eq!(of(&["b", "c", "b", "a", "c", "b"]), Some((2, "b".into())));
        assert_eq!(of(&["", "x", ""]), Some((1, String::new())));
        let twice = [passage("a", "", "cat"), passage("a", "", "dog"), passage("b", "", "owl")];
        let index = PassageIndex::in_memory(&twice).unwrap();
        assert_eq!(
            index.note_of_ids(Path::new("c.jsonl")).unwrap().unwrap(),
            "`c.jsonl`: 1 id belongs to several passages each, such as `a`; all of them are found"
        );
    }

    #[test]
    fn stop_words_count_only_where_there_is_nothing_else() {
        let index = PassageIndex::in_memory(&[
            passage("1", "The Who", "A band."),
            passage("2", "Kora", "The town."),
        ])
        .unwrap();
        assert_eq!(ids(&index, "the band", 5), ["1"]);
        // both hold "the"; the second is shorter
        assert_eq!(ids(&index, "is the", 5), ["2", "1"]);
    }

    #[test]
    fn words_inside_runs_are_found() {
        let index = PassageIndex::in_memory(&[
            passage("1", "東京都", "東京都は日本の首都です。"),
            passage("2", "大阪", "大阪府の府庁所在地は大阪市である。ﾗｰﾒﾝがある。"),
            passage("3", "猫", "吾輩は猫である。名前はまだ無い。"),
            passage("4", "北京", "北京是中华人民共和国的首都。"),
            passage("5", "서울", "서울은 대한민국의 수도이다."),
            passage("6", "Tokyo", "The capital of Japan, also written 東京."),
            passage("7", "PC", "Windows11のＰＣを２０２４年に買った"),
        ])
        .unwrap();
        for (query, expected) in [
            ("首都", &["1", "4"][..]),
            ("日本の首都はどこですか", &["1"]),
            ("中华人民共和国", &["4"]),
            ("人民", &["4"]),
            ("大阪市", &["2"]),
            // the full-width form of what is written half-width
            ("ラーメン", &["2"]),
            ("ﾗｰﾒﾝ", &["2"]),
            // one character: inside runs, alone, and as a word of a question
            ("猫", &["3"]),
            ("猫はどこにいますか", &["3"]),
            ("都", &["1", "4"]),
            ("서울", &["5"]),
            ("대한민국", &["5"]),
            // mixed text, on both sides
            ("pc", &["7"]),
            ("2024年", &["7"]),
            ("windows", &[]),
            ("windows11", &["7"]),
            ("capital 東京", &["6", "1"]),
        ] {
            let found = ids(&index, query, 9);
            assert!(
                expected.iter().all(|id| found.contains(&(*id).to_owned()))
                    && found.first().map(String::as_str) == expected.first().copied(),
                "{query}: {found:?}"
            );
        }
        // near misses: the same characters in another order, and what is in no passage
        assert!(ids(&index, "京東", 9).is_empty() && ids(&index, "犬", 9).is_empty());
    }

    #[test]
    fn words_inside_runs_of_thai_lao_khmer_and_burmese_are_found() {
        let index = PassageIndex::in_memory(&[
            passage("th1", "กรุงเทพ", "กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย"),
            passage("th2", "น้ำ", "น้ำเดือดที่อุณหภูมิหนึ่งร้อยองศาในปี๒๕๖๗"),
            passage("lo", "ວຽງຈັນ", "ວຽງຈັນເປັນນະຄອນຫຼວງຂອງປະເທດລາວ"),
            passage("km", "ភ្នំពេញ", "ភ្នំពេញជារាជធានីរបស់ប្រទេសកម្ពុជា"),
            passage("my", "ရန်ကုန်", "ရန်ကုန်သည်မြန်မာနိုင်ငံ၏အကြီးဆုံးမြို့ဖြစ်သည်"),
        ])
        .unwrap();
        for (query, expected) in [
            // the capital; the country; water, with a tone mark inside; boils; the year's number
            ("เมืองหลวง", "th1"),
            ("ประเทศไทย", "th1"),
            ("เมืองหลวงของไทยคือเมืองใด", "th1"),
            ("น้ำ", "th2"),
            ("เดือด", "th2"),
            ("๒๕๖๗", "th2"),
            // the vowel as one character and as two
            ("น้\u{e4d}\u{e32}", "th2"),
            ("ນະຄອນຫຼວງ", "lo"),
            ("ລາວ", "lo"),
            ("រាជធានី", "km"),
            ("កម្ពុជា", "km"),
            ("មហាកម្ពុជា", "km"),
            ("မြန်မာ", "my"),
            ("မြို့", "my"),
        ] {
            assert_eq!(ids(&index, query, 1), [expected], "{query}");
        }
        // near misses: the same characters in another order, another tone, words that are nowhere
        for query in ["ทไย", "น่า", "ฟ้า", "ລວາ", "ចិន", "ပဲ", "หมา"]
        {
            assert!(ids(&index, query, 9).is_empty(), "{query}: {:?}", ids(&index, query, 9));
        }
    }

    #[test]
    fn pairs_are_scored_by_bm25_and_leave_words_alone() {
        let latin = [passage("a", "", "cat dog"), passage("b", "", "cat cat bird fish")];
        let index = PassageIndex::in_memory(&latin).unwrap();
        let with_run = [&latin[..], &[passage("c", "", "东京 bird")]].concat();
        let mixed = PassageIndex::in_memory(&with_run).unwrap();
        // 2 passages of lengths 2 and 4, mean 3, "dog" in 1: idf = ln(1 + 1.5 / 1.5) = 0.693147;
        // 0.693147 * 2.2 / (1 + 1.2 * (0.25 + 0.75 * 2/3)) = 1.524924 / 1.9 = 0.802591
        assert!((index.search("dog", 1).unwrap()[0].score - 0.802_591).abs() < 1e-4);
        // one pair and one word make the third of length 2; mean 8/3; "dog" in 1 of 3: idf = ln(1 +
        // 2.5 / 1.5) = 0.980829; 2.157824 / (1 + 1.2 * (0.25 + 0.75 * 3/4)) = 2.157824 / 1.975
        assert!((mixed.search("dog", 1).unwrap()[0].score - 1.092_569).abs() < 1e-4);
        // the pair is as rare and its passage as long
        assert!((mixed.search("东京", 1).unwrap()[0].score - 1.092_569).abs() < 1e-4);
    }

    #[test]
    fn equal_scores_keep_the_order_of_the_corpus_over_segments() {
        // enough text for several segments of the smallest size
        let filler = "lorem ipsum dolor sit amet ".repeat(40);
        let passages: Vec<Passage> =
            (0..20_000).map(|i| passage(&i.to_string(), &format!("t{i}"), &filler)).collect();
        let index = Index::create_in_ram(schema().0);
        let count =
            fill(&index, 15_000_000, &mut passages.into_iter().map(Ok)).map_err(|_| ()).unwrap();
        let index = PassageIndex::over(&index).unwrap();
        assert_eq!((count, index.len()), (20_000, 20_000));
        let expected: Vec<String> = (0..50).map(|i| i.to_string()).collect();
        assert_eq!(ids(&index, "ipsum", 50), expected);
    }

    #[test]
    fn a_corpus_is_indexed_once_and_again_when_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let (corpus, cache) = (folder.path().join("c.jsonl"), folder.path().join("cache"));
        std::fs::write(&corpus, "{\"id\":\"a\",\"title\":\"T\",\"text\":\"cat\"}\n").unwrap();
        let mut steps = 0;
        let mut open =
            || PassageIndex::open_or_build(&corpus, &cache, &mut |_, _| steps += 1).unwrap().len();
        assert_eq!((open(), open()), (1, 1));
        let made: Vec<_> = std::fs::read_dir(&cache).unwrap().flatten().collect();
        assert_eq!(made.len(), 1);
        // an index of the first version had another name, so it is not opened
        assert!(made[0].file_name().to_string_lossy().starts_with("passages-v3-"));
        std::fs::write(
            &corpus,
            "{\"id\":\"a\",\"text\":\"cat\"}\n{\"id\":\"b\",\"text\":\"dog\"}\n",
        )
        .unwrap();
        assert_eq!(open(), 2);
        assert_eq!(std::fs::read_dir(&cache).unwrap().count(), 2);
        std::fs::write(&corpus, "{\"id\":\"a\",\"text\":\"cat\"}\n{\"id\":").unwrap();
        let error =
            PassageIndex::open_or_build(&corpus, &cache, &mut |_, _| {}).err().unwrap().to_string();
        assert!(error.contains("line 2"), "{error}");
        // nothing unfinished stays behind
        assert_eq!(std::fs::read_dir(&cache).unwrap().count(), 2);
    }
}
