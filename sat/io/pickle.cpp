// The pickle recogniser: a stack machine over plain values. Nothing is imported, called or constructed.
#include "sat/io/pickle.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <iterator>
#include <map>

#include "sat/io/text.h"

namespace sat {

namespace {

constexpr int64_t kMaxOperations = 2'000'000;  // a tensor takes about 30; every value costs about 100 bytes
constexpr size_t kMaxKey = 256;
constexpr int64_t kMaxNumel = int64_t(1) << 48;

using Value = PickledValue;
using Kind = PickledValue::Kind;

enum class Callable : uint8_t { tensor_v2, tensor, parameter, ordered_dict, size, device, storage };

/// Everything that a pickle may name. A storage class is named, never called.
struct Global {
  const char* name;
  Callable callable;
  StoredType type = StoredType::f32;
};
constexpr std::array<Global, 14> kGlobals{{{"torch._utils _rebuild_tensor_v2", Callable::tensor_v2},
                                           {"torch._utils _rebuild_tensor", Callable::tensor},
                                           {"torch._utils _rebuild_parameter", Callable::parameter},
                                           {"collections OrderedDict", Callable::ordered_dict},
                                           {"torch Size", Callable::size},
                                           {"torch device", Callable::device},
                                           {"torch FloatStorage", Callable::storage, StoredType::f32},
                                           {"torch HalfStorage", Callable::storage, StoredType::f16},
                                           {"torch BFloat16Storage", Callable::storage, StoredType::bf16},
                                           {"torch DoubleStorage", Callable::storage, StoredType::f64},
                                           {"torch LongStorage", Callable::storage, StoredType::i64},
                                           {"torch IntStorage", Callable::storage, StoredType::i32},
                                           {"torch ByteStorage", Callable::storage, StoredType::u8},
                                           {"torch BoolStorage", Callable::storage, StoredType::boolean}}};

/// Opcodes of the format that no state dict needs, named for messages.
struct RefusedOpcode {
  uint8_t code;
  const char* name;
};
constexpr std::array<RefusedOpcode, 30> kRefused{{{'0', "POP"},
                                                  {'1', "POP_MARK"},
                                                  {'2', "DUP"},
                                                  {'F', "FLOAT"},
                                                  {'I', "INT"},
                                                  {'L', "LONG"},
                                                  {'P', "PERSID"},
                                                  {'S', "STRING"},
                                                  {'V', "UNICODE"},
                                                  {'B', "BINBYTES"},
                                                  {'C', "SHORT_BINBYTES"},
                                                  {'d', "DICT"},
                                                  {'g', "GET"},
                                                  {'i', "INST"},
                                                  {'l', "LIST"},
                                                  {'o', "OBJ"},
                                                  {'p', "PUT"},
                                                  {0x81, "NEWOBJ"},
                                                  {0x82, "EXT1"},
                                                  {0x83, "EXT2"},
                                                  {0x84, "EXT4"},
                                                  {0x8b, "LONG4"},
                                                  {0x8e, "BINBYTES8"},
                                                  {0x8f, "EMPTY_SET"},
                                                  {0x90, "ADDITEMS"},
                                                  {0x91, "FROZENSET"},
                                                  {0x92, "NEWOBJ_EX"},
                                                  {0x96, "BYTEARRAY8"},
                                                  {0x97, "NEXT_BUFFER"},
                                                  {0x98, "READONLY_BUFFER"}}};

const char* name_of(Kind kind) {
  constexpr std::array<const char*, 11> kNames{"None",   "a boolean", "an integer", "a float",   "a text",  "a tuple",
                                               "a list", "a dict",    "a global",   "a storage", "a tensor"};
  return kNames[size_t(kind)];
}

[[noreturn]] void refuse_opcode(uint8_t code) {
  constexpr const char* kDigits = "0123456789abcdef";
  const std::string hex = {'0', 'x', kDigits[code >> 4], kDigits[code & 15]};
  for (const RefusedOpcode& refused : kRefused) {
    if (refused.code == code) fail("opcode ", hex, " (", refused.name, ") is not one that a state dict needs");
  }
  fail("opcode ", hex, " is unknown");
}

/// Part of a storage that a tensor may lie in.
struct StorageView {
  int64_t storage = 0, first = 0, count = 0;
};

class Machine {
 public:
  Machine(const uint8_t* bytes, int64_t count) : bytes_(bytes), count_(count) {}

  Pickle run() {
    SAT_CHECK(take<uint8_t>() == 0x80, "does not begin with a protocol number");
    const int protocol = take<uint8_t>();
    SAT_CHECK(protocol >= 2 && protocol <= 5, "protocol is ", protocol, ", 2 to 5 are supported");
    for (;;) {
      charge(1);
      opcode_at_ = at_;
      const auto code = take<uint8_t>();
      if (code == '.') break;
      if (!plain_value(code) && !container(code) && !memo(code) && !object(code)) refuse_opcode(code);
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
    SAT_CHECK(operations_ <= kMaxOperations, "more than ", kMaxOperations, " operations");
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

  std::string_view take_text(uint64_t length) {
    need(length);
    const std::string_view text(reinterpret_cast<const char*>(bytes_) + at_, length);
    SAT_CHECK(is_utf8(text), "the text ", quoted(text), " is not UTF-8");
    at_ += int64_t(length);
    return text;
  }

  std::string_view take_line() {
    constexpr int64_t kLongest = 256;
    const uint8_t* first = bytes_ + at_;
    const uint8_t* end = first + std::min(kLongest, count_ - at_);
    const uint8_t* newline = std::find(first, end, uint8_t('\n'));
    SAT_CHECK(newline != end, "a global's name has no end");
    const std::string_view line = take_text(uint64_t(newline - first));
    ++at_;
    return line;
  }

  // The stack.
  void push(int32_t value) { stack_.push_back(value); }

  void push(Value value) {
    push(int32_t(pickle_.values.size()));
    pickle_.values.push_back(std::move(value));
  }

  void push_number(Kind kind, int64_t number) {
    Value value;
    value.kind = kind;
    value.number = number;
    push(std::move(value));
  }

  void push_text(std::string_view text) {
    Value value;
    value.kind = Kind::text;
    value.text = text;
    push(std::move(value));
  }

  void push_items(Kind kind, std::vector<int32_t> items) {
    Value value;
    value.kind = kind;
    value.items = std::move(items);
    push(std::move(value));
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

  Value& as(int32_t value, Kind kind) {
    Value& found = pickle_.values[size_t(value)];
    SAT_CHECK(found.kind == kind, "met ", name_of(found.kind), ", needs ", name_of(kind));
    return found;
  }

  std::vector<int32_t> items_of(int32_t value, Kind kind) {
    const std::vector<int32_t>& items = as(value, kind).items;
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
      case 'N': push(Value{}); return true;                                            // NONE
      case 0x88: push_number(Kind::boolean, 1); return true;                           // NEWTRUE
      case 0x89: push_number(Kind::boolean, 0); return true;                           // NEWFALSE
      case 'J': push_number(Kind::integer, take<int32_t>()); return true;              // BININT
      case 'K': push_number(Kind::integer, take<uint8_t>()); return true;              // BININT1
      case 'M': push_number(Kind::integer, take<uint16_t>()); return true;             // BININT2
      case 0x8a: push_number(Kind::integer, take_long(take<uint8_t>())); return true;  // LONG1
      case 'G': push_real(take<uint64_t>()); return true;                              // BINFLOAT
      case 'T': push_text(take_text(take<uint32_t>())); return true;                   // BINSTRING
      case 'U': push_text(take_text(take<uint8_t>())); return true;                    // SHORT_BINSTRING
      case 'X': push_text(take_text(take<uint32_t>())); return true;                   // BINUNICODE
      case 0x8c: push_text(take_text(take<uint8_t>())); return true;                   // SHORT_BINUNICODE
      case 0x8d: push_text(take_text(take<uint64_t>())); return true;                  // BINUNICODE8
      default: return false;
    }
  }

  int64_t take_long(int length) {
    SAT_CHECK(length <= 8, "an integer of ", length, " bytes, at most 8 are supported");
    need(uint64_t(length));
    uint64_t bits = 0;
    for (int i = 0; i < length; ++i) bits |= uint64_t(bytes_[at_ + i]) << (8 * i);
    const bool negative = length > 0 && (bytes_[at_ + length - 1] & 0x80) != 0;
    if (negative && length < 8) bits |= ~uint64_t(0) << (8 * length);
    at_ += length;
    return int64_t(bits);
  }

  void push_real(uint64_t big_endian) {
    uint64_t bits = 0;
    for (int i = 0; i < 8; ++i) bits = bits << 8 | (big_endian >> (8 * i) & 0xFF);
    Value value;
    value.kind = Kind::real;
    value.real = std::bit_cast<double>(bits);
    push(std::move(value));
  }

  bool container(uint8_t code) {
    switch (code) {
      case '(': marks_.push_back(stack_.size()); return true;         // MARK
      case ')': push_items(Kind::tuple, {}); return true;             // EMPTY_TUPLE
      case 0x85: push_items(Kind::tuple, pop_last(1)); return true;   // TUPLE1
      case 0x86: push_items(Kind::tuple, pop_last(2)); return true;   // TUPLE2
      case 0x87: push_items(Kind::tuple, pop_last(3)); return true;   // TUPLE3
      case 't': push_items(Kind::tuple, pop_to_mark()); return true;  // TUPLE
      case ']': push_items(Kind::list, {}); return true;              // EMPTY_LIST
      case 'a': extend(Kind::list, pop_last(1)); return true;         // APPEND
      case 'e': extend(Kind::list, pop_to_mark()); return true;       // APPENDS
      case '}': push_items(Kind::dict, {}); return true;              // EMPTY_DICT
      case 's': extend(Kind::dict, pop_last(2)); return true;         // SETITEM
      case 'u': extend(Kind::dict, pop_to_mark()); return true;       // SETITEMS
      default: return false;
    }
  }

  void extend(Kind kind, const std::vector<int32_t>& items) {
    SAT_CHECK(kind != Kind::dict || items.size() % 2 == 0, "a key without a value");
    Value& target = as(top(), kind);
    target.items.insert(target.items.end(), items.begin(), items.end());
  }

  bool memo(uint8_t code) {
    switch (code) {
      case 'q': memo_[take<uint8_t>()] = top(); return true;          // BINPUT
      case 'r': memo_[take<uint32_t>()] = top(); return true;         // LONG_BINPUT
      case 0x94: memo_[uint32_t(memo_.size())] = top(); return true;  // MEMOIZE
      case 'h': push(recall(take<uint8_t>())); return true;           // BINGET
      case 'j': push(recall(take<uint32_t>())); return true;          // LONG_BINGET
      default: return false;
    }
  }

  int32_t recall(uint32_t index) const {
    const auto found = memo_.find(index);
    SAT_CHECK(found != memo_.end(), "nothing was memorised as ", index);
    return found->second;
  }

  bool object(uint8_t code) {
    switch (code) {
      case 0x95: need(take<uint64_t>()); return true;  // FRAME
      case 'c': {                                      // GLOBAL
        const std::string module(take_line());
        push_global(module, std::string(take_line()));
        return true;
      }
      case 0x93: {  // STACK_GLOBAL
        const std::vector<int32_t> names = pop_last(2);
        push_global(std::string(as(names[0], Kind::text).text), std::string(as(names[1], Kind::text).text));
        return true;
      }
      case 'R': reduce(); return true;         // REDUCE
      case 'Q': persistent_id(); return true;  // BINPERSID
      case 'b': {                              // BUILD: attributes of a dict, such as a state dict's _metadata
        as(pop(), Kind::dict);
        as(top(), Kind::dict);
        return true;
      }
      default: return false;
    }
  }

  void push_global(const std::string& module, const std::string& name) {
    const auto known = std::find_if(kGlobals.begin(), kGlobals.end(),
                                    [full = module + " " + name](const Global& global) { return full == global.name; });
    SAT_CHECK(known != kGlobals.end(), "global ", quoted(module + "." + name),
              " is not one that a state dict needs; nothing of this file was run");
    push_number(Kind::global, std::distance(kGlobals.begin(), known));
  }

  void reduce() {
    const std::vector<int32_t> arguments = items_of(pop(), Kind::tuple);
    const Global& global = kGlobals[size_t(as(pop(), Kind::global).number)];
    const auto need_arguments = [&](size_t least, size_t most) {
      SAT_CHECK(arguments.size() >= least && arguments.size() <= most, quoted(global.name), " with ", arguments.size(),
                " arguments, needs ", least, " to ", most);
    };
    switch (global.callable) {
      case Callable::tensor_v2: need_arguments(6, 7); return push_tensor(arguments);
      case Callable::tensor: need_arguments(4, 4); return push_tensor(arguments);
      case Callable::parameter:
        need_arguments(3, 3);
        as(arguments[0], Kind::tensor);
        return push(arguments[0]);
      case Callable::ordered_dict: need_arguments(0, 1); return push_ordered_dict(arguments);
      case Callable::size:
        need_arguments(1, 1);
        integers(arguments[0]);
        return push(arguments[0]);
      case Callable::device:
        need_arguments(1, 2);
        as(arguments[0], Kind::text);
        return push(arguments[0]);
      case Callable::storage: fail("the storage class ", quoted(global.name), " is called");
    }
  }

  void push_ordered_dict(const std::vector<int32_t>& arguments) {
    std::vector<int32_t> items;
    if (!arguments.empty()) {
      for (const int32_t item : items_of(arguments[0], Kind::list)) {
        const Value& pair = pickle_[item];
        SAT_CHECK((pair.kind == Kind::tuple || pair.kind == Kind::list) && pair.items.size() == 2,
                  "an item of an OrderedDict is not a pair");
        items.insert(items.end(), pair.items.begin(), pair.items.end());
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
    const Global& global = kGlobals[size_t(as(id[1], Kind::global).number)];
    SAT_CHECK(global.callable == Callable::storage, quoted(global.name), " is not a storage class");
    as(id[3], Kind::text);
    const std::string_view key = as(id[2], Kind::text).text;
    SAT_CHECK(key.size() <= kMaxKey, "the storage key ", quoted(key), " has ", key.size(), " bytes, at most ", kMaxKey,
              " are allowed");
    const int64_t numel = as(id[4], Kind::integer).number;
    SAT_CHECK(numel >= 0 && numel <= kMaxNumel, "storage ", quoted(key), " of ", numel, " elements");

    const auto [found, is_new] = storage_of_key_.emplace(std::string(key), int64_t(pickle_.storages.size()));
    if (is_new) pickle_.storages.push_back({global.type, std::string(key), numel});
    const PickledStorage& storage = pickle_.storages[size_t(found->second)];
    SAT_CHECK(storage.type == global.type && storage.numel == numel, "storage ", quoted(key),
              " is described twice, with different types or sizes");

    StorageView view{found->second, 0, numel};
    if (id.size() == 6 && pickle_[id[5]].kind != Kind::none) {
      const std::vector<int32_t> part = items_of(id[5], Kind::tuple);
      SAT_CHECK(part.size() == 3, "a storage view of ", part.size(), " parts, needs 3");
      view.first = as(part[1], Kind::integer).number;
      view.count = as(part[2], Kind::integer).number;
      SAT_CHECK(view.first >= 0 && view.count >= 0 && view.first <= numel && view.count <= numel - view.first,
                "a view of ", view.count, " elements at ", view.first, " leaves its storage of ", numel);
    }
    push_number(Kind::storage, int64_t(views_.size()));
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
    push_number(Kind::tensor, int64_t(pickle_.tensors.size()));
    pickle_.tensors.push_back({view.storage, view.first + offset, shape, std::move(strides)});
  }

  const uint8_t* bytes_;
  int64_t count_, at_ = 0, opcode_at_ = 0, operations_ = 0;
  Pickle pickle_;
  std::vector<int32_t> stack_;
  std::vector<size_t> marks_;         // heights of the stack
  std::map<uint32_t, int32_t> memo_;  // ordered: its keys are the file's choice
  std::map<std::string, int64_t> storage_of_key_;
  std::vector<StorageView> views_;
};

}  // namespace

Pickle read_pickle(const uint8_t* bytes, int64_t count, const std::string& source) {
  Machine machine(bytes, count);
  try {
    return machine.run();
  } catch (const Error& error) {
    fail(source, ": pickle, byte ", machine.opcode_at(), ": ", error.what());
  }
}

}  // namespace sat
