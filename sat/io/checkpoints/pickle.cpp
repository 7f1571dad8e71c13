// The pickle recogniser: a stack machine over plain values. Nothing is imported, called or constructed.
#include "sat/io/checkpoints/pickle.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <map>
#include <optional>

#include "sat/io/checkpoints/pickle_globals.h"
#include "sat/io/checkpoints/pickle_text.h"
#include "sat/io/words/text.h"

namespace sat {

namespace {

constexpr size_t kMaxKey = 256, kMaxGlobal = 256;
constexpr int64_t kMaxNumel = int64_t(1) << 48;
constexpr const char* kLongInteger = "an integer beyond 64 bits";

using Value = PickledValue;
using Kind = PickledValue::Kind;

const char* name_of(Kind kind) {
  constexpr std::array<const char*, 12> kNames{"None",     "a boolean", "an integer", "a float",
                                               "a text",   "a tuple",   "a list",     "a dict",
                                               "a global", "a storage", "a tensor",   "an object"};
  return kNames[size_t(kind)];
}

/// Part of a storage that a tensor may lie in.
struct StorageView {
  int64_t storage = 0, first = 0, count = 0;
  int64_t global = 0;  // its class
};

class Machine {
 public:
  Machine(const uint8_t* bytes, int64_t count, int64_t max_operations)
      : bytes_(bytes), count_(count), max_operations_(max_operations) {
    small_.fill(-1);
  }

  Pickle run() {
    need(1);
    if (bytes_[0] == 0x80) {  // protocols 0 and 1 have no such beginning
      ++at_;
      const int protocol = take<uint8_t>();
      SAT_CHECK(protocol >= 2 && protocol <= 5, "protocol is ", protocol, ", 2 to 5 are supported");
    }
    for (;;) {
      charge(1);
      opcode_at_ = at_;
      const auto code = take<uint8_t>();
      if (code == '.') break;
      if (!plain_value(code) && !written_value(code) && !container(code) && !stack_or_memo(code) && !object(code)) {
        refuse_opcode(code);
      }
    }
    SAT_CHECK(stack_.size() == 1 && marks_.empty(), "ends with ", stack_.size(), " values on its stack, needs one");
    pickle_.root = stack_[0];
    pickle_.bytes = at_;
    return std::move(pickle_);
  }

  int64_t opcode_at() const { return opcode_at_; }

 private:
  /// Counts work, so that a few opcodes that name one long value again and again do not cost more than long input.
  void charge(size_t operations) {
    operations_ += int64_t(operations);
    SAT_CHECK(operations_ <= max_operations_, "more than ", max_operations_, " operations");
  }

  // Reading.
  void need(uint64_t bytes) const {
    SAT_CHECK(bytes <= uint64_t(count_ - at_), "needs ", bytes, " more bytes, ", count_ - at_, " are left");
  }

  template <class T>
  T take() {
    need(sizeof(T));
    T value;
    std::memcpy(&value, bytes_ + at_, sizeof value);
    at_ += int64_t(sizeof value);
    return value;
  }

  std::string_view take_bytes(uint64_t length) {
    need(length);
    const std::string_view bytes(reinterpret_cast<const char*>(bytes_) + at_, length);
    at_ += int64_t(length);
    return bytes;
  }

  std::string_view take_text(uint64_t length) {
    const std::string_view text = take_bytes(length);
    SAT_CHECK(is_utf8(text), "the text ", quoted(text), " is not UTF-8");
    return text;
  }

  std::string_view take_line() {
    const void* newline = count_ > at_ ? std::memchr(bytes_ + at_, '\n', size_t(count_ - at_)) : nullptr;
    SAT_CHECK(newline, "a line has no end");
    const std::string_view line = take_bytes(uint64_t(static_cast<const uint8_t*>(newline) - bytes_ - at_));
    ++at_;
    return line;
  }

  // The stack.
  void push(int32_t value) { stack_.push_back(value); }

  void push(const Value& value) {
    push(int32_t(pickle_.values.size()));
    pickle_.values.push_back(value);
  }

  void push_number(Kind kind, int64_t number) {
    Value value;
    value.kind = kind;
    value.number = number;
    push(value);
  }

  /// Values that cannot change are held once.
  void push_shared(int32_t& shared, Kind kind, int64_t number) {
    if (shared < 0) {
      push_number(kind, number);
      shared = stack_.back();
    } else {
      push(shared);
    }
  }

  void push_boolean(bool value) { push_shared(value ? true_ : false_, Kind::boolean, value); }

  void push_integer(int64_t value) {
    if (value >= 0 && value < int64_t(small_.size())) return push_shared(small_[size_t(value)], Kind::integer, value);
    push_number(Kind::integer, value);
  }

  void push_text(std::string_view text) {
    Value value;
    value.kind = Kind::text;
    value.text = text;
    push(value);
  }

  void push_items(Kind kind, std::vector<int32_t> items) {
    push_number(kind, int64_t(pickle_.lists.size()));
    pickle_.lists.push_back(std::move(items));
  }

  void push_opaque(const std::string& name) {
    const auto [found, is_new] = index_of_name_.emplace(name, int64_t(pickle_.names.size()));
    if (is_new) pickle_.names.push_back(name);
    push_number(Kind::opaque, found->second);
  }

  int32_t top() const {
    SAT_CHECK(stack_.size() > (marks_.empty() ? 0 : marks_.back()), "the stack is empty");
    return stack_.back();
  }

  int32_t pop() {
    const int32_t value = top();
    stack_.pop_back();
    return value;
  }

  std::vector<int32_t> pop_last(size_t count) {
    SAT_CHECK(stack_.size() - (marks_.empty() ? 0 : marks_.back()) >= count, "needs ", count, " values on the stack");
    std::vector<int32_t> values(stack_.end() - std::ptrdiff_t(count), stack_.end());
    stack_.resize(stack_.size() - count);
    return values;
  }

  std::vector<int32_t> pop_to_mark() {
    SAT_CHECK(!marks_.empty(), "there is no mark");
    std::vector<int32_t> values = pop_last(stack_.size() - marks_.back());
    marks_.pop_back();
    return values;
  }

  const Value& as(int32_t value, Kind kind) const {
    const Value& found = pickle_[value];
    SAT_CHECK(found.kind == kind, "met ", describe(pickle_, found), ", needs ", name_of(kind));
    return found;
  }

  bool is_opaque(int32_t value) const { return pickle_[value].kind == Kind::opaque; }

  std::vector<int32_t> items_of(int32_t value, Kind kind) {
    const std::vector<int32_t>& items = pickle_.items(as(value, kind));
    charge(items.size());
    return items;
  }

  std::vector<int64_t> integers(int32_t tuple) {
    std::vector<int64_t> numbers;
    for (const int32_t item : items_of(tuple, Kind::tuple)) numbers.push_back(as(item, Kind::integer).number);
    return numbers;
  }

  // Opcodes. Each function returns whether the opcode was one of its own.
  bool plain_value(uint8_t code) {
    switch (code) {
      case 'N': push_shared(none_, Kind::none, 0); return true;                        // NONE
      case 0x88: push_boolean(true); return true;                                      // NEWTRUE
      case 0x89: push_boolean(false); return true;                                     // NEWFALSE
      case 'J': push_integer(take<int32_t>()); return true;                            // BININT
      case 'K': push_integer(take<uint8_t>()); return true;                            // BININT1
      case 'M': push_integer(take<uint16_t>()); return true;                           // BININT2
      case 0x8a: push_long(take<uint8_t>()); return true;                              // LONG1
      case 0x8b: push_long(take<int32_t>()); return true;                              // LONG4
      case 'G': push_real(take<uint64_t>()); return true;                              // BINFLOAT
      case 'T': push_old_text(take_bytes(take<uint32_t>())); return true;              // BINSTRING
      case 'U': push_old_text(take_bytes(take<uint8_t>())); return true;               // SHORT_BINSTRING
      case 'X': push_text(take_text(take<uint32_t>())); return true;                   // BINUNICODE
      case 0x8c: push_text(take_text(take<uint8_t>())); return true;                   // SHORT_BINUNICODE
      case 0x8d: push_text(take_text(take<uint64_t>())); return true;                  // BINUNICODE8
      case 'C': take_bytes(take<uint8_t>()), push_opaque("bytes"); return true;        // SHORT_BINBYTES
      case 'B': take_bytes(take<uint32_t>()), push_opaque("bytes"); return true;       // BINBYTES
      case 0x8e: take_bytes(take<uint64_t>()), push_opaque("bytes"); return true;      // BINBYTES8
      case 0x96: take_bytes(take<uint64_t>()), push_opaque("bytearray"); return true;  // BYTEARRAY8
      default: return false;
    }
  }

  /// Values of protocol 0, written out in a line each.
  bool written_value(uint8_t code) {
    switch (code) {
      case 'I': push_written_integer(take_line()); return true;       // INT
      case 'L': push_written_integer(take_line()); return true;       // LONG
      case 'F': push_double(written_real(take_line())); return true;  // FLOAT
      case 'S': push_escaped(unquoted(take_line())); return true;     // STRING
      case 'V': push_escaped(take_line()); return true;               // UNICODE
      default: return false;
    }
  }

  void push_written_integer(std::string_view line) {
    if (line == "00" || line == "01") return push_boolean(line == "01");
    const std::optional<int64_t> value = written_integer(line);
    if (!value) return push_opaque(kLongInteger);
    push_integer(*value);
  }

  /// A text with escapes; one that is not UTF-8 without them is bytes to us.
  void push_escaped(std::string_view text) {
    if (text.find('\\') == std::string_view::npos) return push_old_text(text);
    std::string plain;
    if (!unescape(text, plain)) return push_opaque("bytes");
    pickle_.texts.push_back(std::move(plain));
    push_text(pickle_.texts.back());
  }

  /// What Python 2 calls a str: a text, or any bytes.
  void push_old_text(std::string_view bytes) {
    if (is_utf8(bytes)) return push_text(bytes);
    push_opaque("bytes");
  }

  void push_long(int64_t length) {
    SAT_CHECK(length >= 0, "an integer of ", length, " bytes");
    const std::string_view bytes = take_bytes(uint64_t(length));
    if (length > 8) return push_opaque(kLongInteger);
    uint64_t bits = 0;
    for (size_t i = 0; i < bytes.size(); ++i) bits |= uint64_t(uint8_t(bytes[i])) << (8 * i);
    const bool negative = length > 0 && (uint8_t(bytes.back()) & 0x80) != 0;
    if (negative && length < 8) bits |= ~uint64_t(0) << (8 * length);
    push_integer(int64_t(bits));
  }

  void push_real(uint64_t big_endian) {
    uint64_t bits = 0;
    for (int i = 0; i < 8; ++i) bits = bits << 8 | (big_endian >> (8 * i) & 0xFF);
    push_double(std::bit_cast<double>(bits));
  }

  void push_double(double real) {
    Value value;
    value.kind = Kind::real;
    value.real = real;
    push(value);
  }

  bool container(uint8_t code) {
    switch (code) {
      case '(': marks_.push_back(stack_.size()); return true;           // MARK
      case ')': push_empty_tuple(); return true;                        // EMPTY_TUPLE
      case 0x85: push_items(Kind::tuple, pop_last(1)); return true;     // TUPLE1
      case 0x86: push_items(Kind::tuple, pop_last(2)); return true;     // TUPLE2
      case 0x87: push_items(Kind::tuple, pop_last(3)); return true;     // TUPLE3
      case 't': push_items(Kind::tuple, pop_to_mark()); return true;    // TUPLE
      case ']': push_items(Kind::list, {}); return true;                // EMPTY_LIST
      case 'a': extend(Kind::list, pop_last(1)); return true;           // APPEND
      case 'e': extend(Kind::list, pop_to_mark()); return true;         // APPENDS
      case '}': push_items(Kind::dict, {}); return true;                // EMPTY_DICT
      case 's': extend(Kind::dict, pop_last(2)); return true;           // SETITEM
      case 'u': extend(Kind::dict, pop_to_mark()); return true;         // SETITEMS
      case 'l': push_items(Kind::list, pop_to_mark()); return true;     // LIST
      case 'd': push_dict(pop_to_mark()); return true;                  // DICT
      case 0x8f: push_opaque("set"); return true;                       // EMPTY_SET
      case 0x90: pop_to_mark(), need_opaque(); return true;             // ADDITEMS
      case 0x91: pop_to_mark(), push_opaque("frozenset"); return true;  // FROZENSET
      default: return false;
    }
  }

  void push_empty_tuple() {
    if (empty_tuple_ < 0) {
      push_items(Kind::tuple, {});
      empty_tuple_ = stack_.back();
    } else {
      push(empty_tuple_);
    }
  }

  void push_dict(std::vector<int32_t> items) {
    SAT_CHECK(items.size() % 2 == 0, "a key without a value");
    push_items(Kind::dict, std::move(items));
  }

  void need_opaque() const { as(top(), Kind::opaque); }

  void extend(Kind kind, const std::vector<int32_t>& items) {
    SAT_CHECK(kind != Kind::dict || items.size() % 2 == 0, "a key without a value");
    if (is_opaque(top())) return;
    std::vector<int32_t>& target = pickle_.lists[size_t(as(top(), kind).number)];
    target.insert(target.end(), items.begin(), items.end());
  }

  bool stack_or_memo(uint8_t code) {
    switch (code) {
      case '0': drop_top(); return true;                                               // POP
      case '1': pop_to_mark(); return true;                                            // POP_MARK
      case '2': push(top()); return true;                                              // DUP
      case 'q': memorise(take<uint8_t>()); return true;                                // BINPUT
      case 'r': memorise(take<uint32_t>()); return true;                               // LONG_BINPUT
      case 'p': memorise(written_index()); return true;                                // PUT
      case 0x94: memorise(uint32_t(memo_.size() + sparse_memo_.size())); return true;  // MEMOIZE
      case 'h': push(recall(take<uint8_t>())); return true;                            // BINGET
      case 'j': push(recall(take<uint32_t>())); return true;                           // LONG_BINGET
      case 'g': push(recall(written_index())); return true;                            // GET
      default: return false;
    }
  }

  void drop_top() {
    if (!marks_.empty() && stack_.size() == marks_.back()) {
      marks_.pop_back();
    } else {
      pop();
    }
  }

  uint32_t written_index() {
    const std::string_view line = take_line();
    const int64_t index = written_integer(line).value_or(-1);
    SAT_CHECK(index >= 0 && index <= UINT32_MAX, quoted(line), " is no place of the memo");
    return uint32_t(index);
  }

  /// Files count up from 0; other indices are the file's choice, and any will do.
  void memorise(uint32_t index) {
    const int32_t value = top();
    if (index < memo_.size()) {
      memo_[index] = value;
    } else if (index == memo_.size()) {
      memo_.push_back(value);
    } else {
      sparse_memo_[index] = value;
    }
  }

  int32_t recall(uint32_t index) const {
    if (index < memo_.size()) return memo_[index];
    const auto found = sparse_memo_.find(index);
    SAT_CHECK(found != sparse_memo_.end(), "nothing was memorised as ", index);
    return found->second;
  }

  bool object(uint8_t code) {
    switch (code) {
      case 0x95: need(take<uint64_t>()); return true;  // FRAME
      case 'c': take_global(); return true;            // GLOBAL
      case 0x93: {                                     // STACK_GLOBAL
        const std::vector<int32_t> names = pop_last(2);
        push_global(as(names[0], Kind::text).text, as(names[1], Kind::text).text);
        return true;
      }
      case 'R':     // REDUCE
      case 0x81: {  // NEWOBJ
        const int32_t arguments = pop();
        call_with(pop(), arguments);
        return true;
      }
      case 0x92: {  // NEWOBJ_EX: a class, its arguments, and those with names
        pop();
        const int32_t arguments = pop();
        call_with(pop(), arguments);
        return true;
      }
      case 'i': {  // INST
        take_global();
        const int32_t callable = pop();
        call(callable, pop_to_mark());
        return true;
      }
      case 'o': {  // OBJ
        std::vector<int32_t> arguments = pop_to_mark();
        SAT_CHECK(!arguments.empty(), "an object without a class");
        const int32_t callable = arguments.front();
        arguments.erase(arguments.begin());
        call(callable, arguments);
        return true;
      }
      case 'Q': persistent_id(); return true;  // BINPERSID
      case 'b': build(); return true;          // BUILD
      default: return false;
    }
  }

  /// Attributes of a dict, such as a state dict's _metadata, or the state of an object that is read over.
  void build() {
    const int32_t state = pop();
    if (is_opaque(top())) return;
    if (!is_opaque(state) && pickle_[state].kind != Kind::tuple) as(state, Kind::dict);
    as(top(), Kind::dict);
  }

  void take_global() {
    const std::string_view module = take_line();
    push_global(module, take_line());
  }

  void push_global(std::string_view module, std::string_view name) {
    SAT_CHECK(module.size() <= kMaxGlobal && name.size() <= kMaxGlobal, "the name ",
              quoted(std::string(module) + "." + std::string(name)), " of a global has more than ", kMaxGlobal,
              " bytes");
    const int64_t known = find_pickled_global(module, name);
    if (known >= 0) return push_number(Kind::global, known);
    SAT_CHECK(!is_refused_global(module, name), "global ", quoted(std::string(module) + "." + std::string(name)),
              " is not one that a state dict needs; nothing of this file was run");
    push_opaque(shown_global(module, name));
  }

  void call_with(int32_t callable, int32_t arguments) {
    if (is_opaque(arguments)) return push(arguments);
    call(callable, items_of(arguments, Kind::tuple));
  }

  /// What a call would give, as far as it is a tensor or a container; the name of it where not. Nothing is called.
  void call(int32_t callable, const std::vector<int32_t>& arguments) {
    charge(arguments.size());
    if (is_opaque(callable)) return push_result(pickle_.name(pickle_[callable]), arguments);
    const PickledGlobal& global = pickled_global(as(callable, Kind::global).number);
    const std::string name = shown_global(global.module, global.name);
    SAT_CHECK(global.callable != PickledCallable::storage, "the storage class ", quoted(name), " is called");
    SAT_CHECK(arguments.size() >= global.least && arguments.size() <= global.most, quoted(name), " with ",
              arguments.size(), " arguments, needs ", global.least, " to ", global.most);
    if (!arguments.empty() && is_opaque(arguments[0]) && global.callable != PickledCallable::dict) {
      return push(arguments[0]);
    }
    switch (global.callable) {
      case PickledCallable::tensor: return push_tensor(arguments);
      case PickledCallable::parameter: as(arguments[0], Kind::tensor); return push(arguments[0]);
      case PickledCallable::typed_tensor:
        SAT_CHECK(pickled_global(as(arguments[0], Kind::global).number).callable != PickledCallable::typed_tensor,
                  quoted(name), " of itself");
        return call_with(arguments[0], arguments[2]);
      case PickledCallable::dict: return push_dict_of(arguments);
      case PickledCallable::size: integers(arguments[0]); return push(arguments[0]);
      case PickledCallable::device: as(arguments[0], Kind::text); return push(arguments[0]);
      case PickledCallable::storage: break;
    }
  }

  void push_result(const std::string& global, const std::vector<int32_t>& arguments) {
    const bool makes_its_argument =
        global == "copyreg._reconstructor" || global == "copy_reg._reconstructor" || global == "copyreg.__newobj__";
    if (makes_its_argument && !arguments.empty() && is_opaque(arguments[0])) return push(arguments[0]);
    push_opaque(shown_result(global));
  }

  void push_dict_of(const std::vector<int32_t>& arguments) {
    std::vector<int32_t> items;
    if (!arguments.empty() && pickle_[arguments[0]].kind == Kind::list) {
      for (const int32_t item : items_of(arguments[0], Kind::list)) {
        const Value& pair = pickle_[item];
        const bool container = pair.kind == Kind::tuple || pair.kind == Kind::list;
        SAT_CHECK(container && pickle_.items(pair).size() == 2, "an item of an OrderedDict is not a pair");
        items.insert(items.end(), pickle_.items(pair).begin(), pickle_.items(pair).end());
      }
    }
    push_items(Kind::dict, std::move(items));
  }

  /// ('storage', class, key, location, numel) and, in the legacy form, None or (view key, offset, numel).
  void persistent_id() {
    const std::vector<int32_t> id = items_of(pop(), Kind::tuple);
    SAT_CHECK(id.size() == 5 || id.size() == 6, "a persistent id of ", id.size(), " parts, needs 5 or 6");
    SAT_CHECK(as(id[0], Kind::text).text == "storage", "a persistent id of ", quoted(as(id[0], Kind::text).text),
              ", needs 'storage'");
    if (is_opaque(id[1])) return push(id[1]);
    const PickledGlobal& global = pickled_global(as(id[1], Kind::global).number);
    SAT_CHECK(global.callable == PickledCallable::storage, quoted(shown_global(global.module, global.name)),
              " is not a storage class");
    as(id[3], Kind::text);
    const std::string_view key = as(id[2], Kind::text).text;
    SAT_CHECK(key.size() <= kMaxKey, "the storage key ", quoted(key), " has ", key.size(), " bytes, at most ", kMaxKey,
              " are allowed");
    const int64_t numel = as(id[4], Kind::integer).number;
    SAT_CHECK(numel >= 0 && numel <= kMaxNumel, "storage ", quoted(key), " of ", numel, " elements");

    const auto [found, is_new] = storage_of_key_.emplace(std::string(key), int64_t(pickle_.storages.size()));
    if (is_new) {
      pickle_.storages.push_back({global.type, std::string(key), numel, global.element_bytes, global.readable});
    }
    const PickledStorage& storage = pickle_.storages[size_t(found->second)];
    SAT_CHECK(storage.type == global.type && storage.readable == global.readable &&
                  storage.element_bytes == global.element_bytes && storage.numel == numel,
              "storage ", quoted(key), " is described twice, with different types or sizes");

    StorageView view{found->second, 0, numel, 0};
    if (id.size() == 6 && pickle_[id[5]].kind != Kind::none) {
      const std::vector<int32_t> part = items_of(id[5], Kind::tuple);
      SAT_CHECK(part.size() == 3, "a storage view of ", part.size(), " parts, needs 3");
      view.first = as(part[1], Kind::integer).number;
      view.count = as(part[2], Kind::integer).number;
      SAT_CHECK(view.first >= 0 && view.count >= 0 && view.first <= numel && view.count <= numel - view.first,
                "a view of ", view.count, " elements at ", view.first, " leaves its storage of ", numel);
    }
    push_number(Kind::storage, int64_t(views_.size()));
    view.global = as(id[1], Kind::global).number;
    views_.push_back(view);
  }

  void push_tensor(const std::vector<int32_t>& arguments) {
    const StorageView& view = views_[size_t(as(arguments[0], Kind::storage).number)];
    const int64_t offset = as(arguments[1], Kind::integer).number;
    const Shape shape(integers(arguments[2]));
    std::vector<int64_t> strides = integers(arguments[3]);
    const int64_t span = span_of(shape, strides);
    SAT_CHECK(offset >= 0 && span <= view.count && offset <= view.count - span, "a tensor of shape ", shape, " at ",
              offset, " spans ", span, " elements and leaves its storage of ", view.count);
    SAT_CHECK(shape.numel() <= view.count, "a tensor of shape ", shape, " repeats the elements of a storage of ",
              view.count);
    if (!pickle_.storages[size_t(view.storage)].readable) {
      const PickledGlobal& global = pickled_global(view.global);
      return push_opaque("a tensor in a " + shown_global(global.module, global.name));
    }
    push_number(Kind::tensor, int64_t(pickle_.tensors.size()));
    pickle_.tensors.push_back({view.storage, view.first + offset, shape, std::move(strides)});
  }

  const uint8_t* bytes_;
  int64_t count_, at_ = 0, opcode_at_ = 0, operations_ = 0, max_operations_;
  Pickle pickle_;
  std::vector<int32_t> stack_;
  std::vector<size_t> marks_;  // heights of the stack
  std::vector<int32_t> memo_;
  std::map<uint32_t, int32_t> sparse_memo_;  // ordered, for its keys are the file's choice
  std::map<std::string, int64_t> storage_of_key_, index_of_name_;
  int32_t none_ = -1, true_ = -1, false_ = -1, empty_tuple_ = -1;
  std::array<int32_t, 256> small_;  // integers from 0 on
  std::vector<StorageView> views_;
};

}  // namespace

std::string describe(const Pickle& pickle, const PickledValue& value) {
  return value.kind == Kind::opaque ? pickle.name(value) : name_of(value.kind);
}

Pickle read_pickle(const uint8_t* bytes, int64_t count, const std::string& source, int64_t max_operations) {
  Machine machine(bytes, count, max_operations);
  try {
    return machine.run();
  } catch (const Error& error) {
    fail(source, ": pickle, byte ", machine.opcode_at(), ": ", error.what());
  }
}

}  // namespace sat
