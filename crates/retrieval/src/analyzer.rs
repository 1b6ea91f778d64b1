//! From text to the terms that are indexed and looked up.
//!
//! Text that has spaces between its words is cut at everything that is no letter or digit, folded
//! to lower case and ASCII, and cut to stems. Chinese and Japanese have none, and Korean words carry
//! endings, so a run of their characters becomes its overlapping pairs, as in Lucene's
//! `CJKAnalyzer`: 東京都 is 東京 and 京都. A pair is found wherever the run begins. Each character
//! is a term of its own in a second field, for queries that are one character long. Thai, Lao,
//! Khmer and Burmese have no spaces between words either, and are treated alike; their vowel signs
//! and tone marks are characters of the run.
//!
//! Half-width katakana and hangul, voicing marks and jamo that stand apart, compatibility
//! ideographs, and signs in an order of their own are folded to the usual characters (NFKC, of such
//! runs alone); spaces without width inside a run are dropped. Left out: dictionaries, traditional
//! against simplified characters, and scripts of fewer speakers without spaces (Javanese, Tai Tham).

use crate::words_of_text::WordTokenizer;
use std::borrow::Cow;
use tantivy::tokenizer::{
    AsciiFoldingFilter, Language, LowerCaser, RemoveLongFilter, Stemmer, StopWordFilter,
    TextAnalyzer, Token, TokenFilter, TokenStream, Tokenizer,
};
use unicode_normalization::UnicodeNormalization;

/// Words and pairs of characters, without stop words where `stop_words` are given. Expects
/// [`folded`] text.
pub(crate) fn words(stop_words: Option<StopWordFilter>) -> TextAnalyzer {
    let words = TextAnalyzer::builder(WordTokenizer::default())
        .filter(RunFilter(RunForm::Pairs))
        .filter(RemoveLongFilter::limit(255))
        .filter(LowerCaser);
    let words = words.filter(AsciiFoldingFilter).dynamic();
    let words = match stop_words {
        Some(filter) => words.filter_dynamic(filter),
        None => words,
    };
    words.filter_dynamic(Stemmer::new(Language::English)).build()
}

/// Every single character of a run, and nothing else. Expects [`folded`]
/// text.
pub(crate) fn characters() -> TextAnalyzer {
    TextAnalyzer::builder(WordTokenizer::default()).filter(RunFilter(RunForm::Characters)).build()
}

/// Those characters of a query that are looked up by themselves: runs of one character, and
/// ideographs between syllables (猫 in 猫はどこ), which are a word more often than not.
pub(crate) fn lone_characters() -> TextAnalyzer {
    TextAnalyzer::builder(WordTokenizer::default()).filter(RunFilter(RunForm::Lone)).build()
}

/// The text with the characters of runs in their usual forms. Other text is as it was.
pub(crate) fn folded(text: &str) -> Cow<'_, str> {
    // most text is decided by its first look
    let needs_folding = !text.is_ascii()
        && (text.contains(is_unusual) || text.contains(is_hidden) && has_runs(text));
    if !needs_folding {
        return Cow::Borrowed(text);
    }
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let of_run = |c: char| is_unspaced(c) || is_unusual(c) || is_hidden(c);
        let inside = of_run(first);
        let (run, behind) =
            rest.split_at(rest.find(|c: char| of_run(c) != inside).unwrap_or(rest.len()));
        if inside && run.contains(|c| !is_hidden(c)) {
            result.extend(run.chars().filter(|c| !is_hidden(*c)).nfkc())
        } else {
            result.push_str(run)
        }
        rest = behind;
    }
    Cow::Owned(result)
}

/// Whether there is any run of such characters in a [`folded`] text.
pub(crate) fn has_runs(text: &str) -> bool {
    !text.is_ascii() && text.contains(is_unspaced)
}

/// Whether a character belongs to a run: bopomofo, kana, ideographs and hangul with their iteration
/// and length marks; letters and signs of Thai, Lao, Khmer and Burmese, without digits and
/// punctuation.
fn is_unspaced(c: char) -> bool {
    match c {
        // most text ends here
        ..'\u{e01}' => false,
        '\u{1100}'..='\u{11ff}' | '\u{a960}'..='\u{a97c}' | '\u{ac00}'..='\u{d7fb}' => true,
        '\u{3041}'..='\u{3096}' | '\u{309d}'..='\u{309f}' => true,
        '\u{30a1}'..='\u{30fa}' | '\u{30fc}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' => true,
        '\u{3105}'..='\u{312f}' | '\u{3131}'..='\u{318e}' | '\u{31a0}'..='\u{31bf}' => true,
        '\u{ff66}'..='\u{ffdc}' | '\u{1aff0}'..='\u{1b16f}' => true,
        _ => is_southeast_asian(c) || is_ideograph(c),
    }
}

/// Letters and signs of Thai, Lao, Burmese with its neighbours, and Khmer.
fn is_southeast_asian(c: char) -> bool {
    matches!(c, '\u{e01}'..='\u{e3a}' | '\u{e40}'..='\u{e4e}'
        | '\u{e81}'..='\u{ebd}' | '\u{ec0}'..='\u{ece}' | '\u{edc}'..='\u{edf}'
        | '\u{1000}'..='\u{103f}' | '\u{1050}'..='\u{108f}' | '\u{109a}'..='\u{109d}'
        | '\u{a9e0}'..='\u{a9ef}' | '\u{a9fa}'..='\u{a9fe}' | '\u{aa60}'..='\u{aa76}'
        | '\u{aa7a}'..='\u{aa7f}'
        | '\u{1780}'..='\u{17d3}' | '\u{17d7}' | '\u{17dc}'..='\u{17dd}')
}

/// Vowel signs, tone marks and the like of these scripts: no letters by themselves, but part of a
/// word wherever they stand.
pub(crate) fn is_sign(c: char) -> bool {
    is_southeast_asian(c) && !c.is_alphanumeric()
}

/// Spaces and joiners without width, with which such text marks where a line may break.
fn is_hidden(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{ad}')
}

/// Han, with what repeats or stands for an ideograph.
fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3005}'..='\u{3007}' | '\u{3021}'..='\u{3029}' | '\u{3031}'..='\u{3035}'
        | '\u{3038}'..='\u{303c}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// Characters that NFKC may give another form or place, or join with the one before: radicals,
/// voicing marks, jamo, compatibility ideographs, half-width forms; vowels of two parts and signs
/// above and below.
fn is_unusual(c: char) -> bool {
    matches!(c, '\u{e33}' | '\u{e38}'..='\u{e3a}' | '\u{e48}'..='\u{e4b}' | '\u{eb3}'
        | '\u{eb8}'..='\u{eba}' | '\u{ec8}'..='\u{ecb}' | '\u{edc}'..='\u{edd}' | '\u{102e}'
        | '\u{1037}' | '\u{1039}'..='\u{103a}' | '\u{108d}' | '\u{17d2}' | '\u{17dd}'
        | '\u{1100}'..='\u{11ff}' | '\u{2e80}'..='\u{2fdf}' | '\u{3038}'..='\u{303a}'
        | '\u{3099}'..='\u{309a}' | '\u{309f}' | '\u{30ff}' | '\u{1b123}'..='\u{1b12f}'
        | '\u{3131}'..='\u{318e}' | '\u{a960}'..='\u{a97c}' | '\u{d7b0}'..='\u{d7fb}'
        | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ffdc}' | '\u{2f800}'..='\u{2fa1f}')
}

/// What becomes of a run.
#[derive(Clone, Copy)]
enum RunForm {
    /// Its overlapping pairs; what stands beside it stays a word.
    Pairs,
    /// Its characters, and no words.
    Characters,
    /// The characters that a query looks up by themselves, and no words.
    Lone,
}

/// Cuts runs out of the tokens that it is given.
#[derive(Clone)]
struct RunFilter(RunForm);

impl TokenFilter for RunFilter {
    type Tokenizer<T: Tokenizer> = RunTokenizer<T>;

    fn transform<T: Tokenizer>(self, words: T) -> RunTokenizer<T> {
        RunTokenizer { form: self.0, words, parts: Vec::new() }
    }
}

#[derive(Clone)]
struct RunTokenizer<T> {
    form: RunForm,
    words: T,
    parts: Vec<Token>,
}

impl<T: Tokenizer> Tokenizer for RunTokenizer<T> {
    type TokenStream<'a> = RunStream<'a, T::TokenStream<'a>>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Self::TokenStream<'a> {
        self.parts.clear();
        RunStream { form: self.form, words: self.words.token_stream(text), parts: &mut self.parts }
    }
}

struct RunStream<'a, T> {
    form: RunForm,
    words: T,
    /// What the latest word was cut into, the next one last; empty where it was not cut.
    parts: &'a mut Vec<Token>,
}

impl<T: TokenStream> TokenStream for RunStream<'_, T> {
    fn advance(&mut self) -> bool {
        self.parts.pop();
        if !self.parts.is_empty() {
            return true;
        }
        while self.words.advance() {
            if !has_runs(&self.words.token().text) {
                match self.form {
                    RunForm::Pairs => return true,
                    RunForm::Characters | RunForm::Lone => continue,
                }
            }
            cut(self.words.token(), self.form, self.parts);
            if !self.parts.is_empty() {
                self.parts.reverse();
                return true;
            }
        }
        false
    }

    fn token(&self) -> &Token {
        self.parts.last().unwrap_or_else(|| self.words.token())
    }

    fn token_mut(&mut self) -> &mut Token {
        self.parts.last_mut().unwrap_or_else(|| self.words.token_mut())
    }
}

/// The parts of a word with a run in it, in order.
fn cut(word: &Token, form: RunForm, parts: &mut Vec<Token>) {
    let characters: Vec<(usize, char)> = word.text.char_indices().collect();
    let end_of = |index: usize| characters.get(index).map_or(word.text.len(), |(place, _)| *place);
    // characters `from..to` of the word
    let mut add = |from: usize, to: usize| {
        let (from, to) = (end_of(from), end_of(to));
        parts.push(Token {
            offset_from: word.offset_from + from,
            offset_to: word.offset_from + to,
            text: word.text[from..to].to_owned(),
            position: word.position,
            position_length: word.position_length,
        });
    };
    let mut start = 0;
    for stretch in characters.chunk_by(|(_, a), (_, b)| is_unspaced(*a) == is_unspaced(*b)) {
        let end = start + stretch.len();
        match form {
            RunForm::Pairs if !is_unspaced(stretch[0].1) => add(start, end),
            RunForm::Pairs => (start + 1..end).for_each(|second| add(second - 1, second + 1)),
            _ if !is_unspaced(stretch[0].1) => {}
            RunForm::Characters => (start..end).for_each(|place| add(place, place + 1)),
            RunForm::Lone if stretch.len() == 1 => add(start, end),
            RunForm::Lone => {
                let ideograph = |place: usize| is_ideograph(characters[place].1);
                let lone = |place: &usize| {
                    ideograph(*place)
                        && (*place == start || !ideograph(place - 1))
                        && (place + 1 == end || !ideograph(place + 1))
                };
                (start..end).filter(lone).for_each(|place| add(place, place + 1));
            }
        }
        start = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn terms(mut analyzer: TextAnalyzer, text: &str) -> Vec<String> {
        let (text, mut terms) = (folded(text), Vec::new());
        analyzer.token_stream(&text).process(&mut |token| terms.push(token.text.clone()));
        terms
    }

    #[track_caller]
    fn check(text: &str, pairs: &str, every: &str, lone: &str) {
        assert_eq!(terms(words(None), text).join(" "), pairs, "pairs of {text}");
        assert_eq!(terms(characters(), text).join(" "), every, "characters of {text}");
        assert_eq!(terms(lone_characters(), text).join(" "), lone, "lone characters of {text}");
    }

    #[test]
    fn runs_become_pairs_and_characters() {
        check("東京都", "東京 京都", "東 京 都", "");
        check("猫", "", "猫", "猫");
        check("猫はどこ", "猫は はど どこ", "猫 は ど こ", "猫");
        // one run over hiragana, katakana with its length mark, and ideographs
        check("人々のタワー", "人々 々の のタ タワ ワー", "人 々 の タ ワ ー", "");
        check("서울은 크다", "서울 울은 크다", "서 울 은 크 다", "");
        // punctuation ends a run, whatever its width
        check("北京、上海。", "北京 上海", "北 京 上 海", "");
        check("ㄅㄆ 〇", "ㄅㄆ", "ㄅ ㄆ 〇", "〇");
        // an ideograph outside of the basic plane is one character
        check("𠮷野家", "𠮷野 野家", "𠮷 野 家", "");
    }

    #[test]
    fn words_beside_a_run_stay_words() {
        check("iPhones手机 tests", "iphon 手机 test", "手 机", "");
        check("2024年", "2024", "年", "年");
        check("２０２４年のＮＡＳＡ", "2024 年の nasa", "年 の", "年");
        check("JR東日本", "jr 東日 日本", "東 日 本", "");
    }

    #[test]
    fn other_forms_are_folded() {
        // half-width katakana with voicing marks: ガギ, パン
        check("ｶﾞｷﾞ ﾊﾟﾝ", "ガギ パン", "ガ ギ パ ン", "");
        // the mark apart, as file names on some systems have it: が
        check("か\u{3099}く", "がく", "が く", "");
        // jamo: 한국
        check("\u{1112}\u{1161}\u{11ab}\u{1100}\u{116e}\u{11a8}", "한국", "한 국", "");
        // a radical and a compatibility ideograph: 人 and 豈
        check("⼈\u{f900}", "人豈", "人 豈", "");
        // half-width hangul: 가
        check("ﾡￂ", "", "가", "가");
    }

    #[test]
    fn signs_are_part_of_their_run() {
        // the tone mark is no letter: น + ้ + ํ + า, since ำ is two
        check("น้ำ", "น\u{e49} \u{e49}\u{e4d} \u{e4d}า", "น \u{e49} \u{e4d} า", "");
        // digits are words of their own, as is what stands beside
        check("ปี๒๕๖๗ test", "ปี ๒๕๖๗ test", "ป ี", "");
        check("ลาว ລາວ", "ลา าว ລາ າວ", "ล า ว ລ າ ວ", "");
        // a sign that joins two consonants
        check("ខ្មែរ", "ខ្ ្ម មែ ែរ", "ខ ្ ម ែ រ", "");
        check("မြန်", "မြ ြန န်", "မ ြ န ်", "");
        // a place to break a line is no border
        assert_eq!(terms(words(None), "ภาษา\u{200b}ไทย"), terms(words(None), "ภาษาไทย"));
        // but between words of other scripts it is as ever
        assert_eq!(terms(words(None), "one\u{200b}two"), terms(former(), "one\u{200b}two"));
        // marks in another order: the vowel below and the tone above
        assert_eq!(terms(words(None), "ก\u{e48}\u{e38}"), terms(words(None), "ก\u{e38}\u{e48}"));
        // signs of scripts with spaces part words as ever
        assert_eq!(terms(words(None), "हिन्दी"), terms(former(), "हिन्दी"));
    }

    #[test]
    fn long_runs_are_not_thrown_away() {
        // as one word, 100 characters of three bytes would be longer than 255 bytes
        assert_eq!(terms(words(None), &"東京".repeat(50)).len(), 99);
    }

    /// What the index held before there were pairs.
    fn former() -> TextAnalyzer {
        TextAnalyzer::builder(tantivy::tokenizer::SimpleTokenizer::default())
            .filter(RemoveLongFilter::limit(255))
            .filter(LowerCaser)
            .filter(AsciiFoldingFilter)
            .filter(Stemmer::new(Language::English))
            .build()
    }

    #[test]
    fn the_three_kinds_of_characters_fit_together() {
        for c in '\0'..=char::MAX {
            // what is unusual must not be left unusual, or a query and a text may differ
            if is_unusual(c) {
                let twice: String = c.nfkc().nfkc().collect();
                assert_eq!(twice, c.nfkc().collect::<String>());
            }
            assert!(!is_ideograph(c) || is_unspaced(c), "{c}");
            assert!(c >= '\u{e01}' || !is_unspaced(c) && !is_unusual(c));
            // what is usual stays as it is, alone and behind any other
            if is_unspaced(c) && !is_unusual(c) {
                assert_eq!(c.nfkc().collect::<String>(), c.to_string());
                assert_eq!(unicode_normalization::char::canonical_combining_class(c), 0, "{c:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn text_without_such_runs_is_cut_as_ever(text in "[ -~à-ÿĀ-ſα-ωа-яא-תا-ي\u{300}-\u{30f}๐-๙०-९–—’…０-ｚ\u{1f600}]{0,60}") {
            prop_assert_eq!(terms(words(None), &text), terms(former(), &text));
            prop_assert!(matches!(folded(&text), Cow::Borrowed(_)));
            prop_assert!(terms(characters(), &text).is_empty());
            prop_assert!(terms(lone_characters(), &text).is_empty());
        }

        #[test]
        fn a_part_of_two_characters_is_found_in_any_run(text in "[あ-ん一-龥ァ-ヴ가-힣ก-ฮກ-ຂក-អက-အ]{2,20}", at in 0usize..18) {
            let characters: Vec<char> = text.chars().collect();
            let at = at.min(characters.len() - 2);
            let part: String = characters[at..at + 2].iter().collect();
            prop_assert!(terms(words(None), &text).contains(&terms(words(None), &part)[0]));
        }
    }
}
