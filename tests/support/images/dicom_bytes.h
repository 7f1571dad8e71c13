// DICOM files put together by hand: explicit little endian, right or wrong on purpose.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/support/images/image_bytes.h"

namespace sat::test {

/// One element; texts are padded to an even length.
inline std::string dicom_element(uint16_t group, uint16_t number, const std::string& kind, std::string value) {
  if (value.size() % 2) value += kind == "OB" || kind == "UI" ? '\0' : ' ';
  const bool long_length = kind == "OB" || kind == "OW" || kind == "SQ";
  return number_bytes(group, 2, false) + number_bytes(number, 2, false) + kind +
         (long_length ? std::string(2, '\0') + number_bytes(value.size(), 4, false)
                      : number_bytes(value.size(), 2, false)) +
         value;
}

/// A grey image of 16 bits or fewer a pixel.
struct DicomImage {
  int rows = 1, columns = 1, allocated = 16, bits = 16, high_bit = 15, is_signed = 0, samples = 1;
  std::string photometric = "MONOCHROME2", frames, slope, intercept, centre, width, function;
  std::string syntax = "1.2.840.10008.1.2.1";
  std::string pixels;  // as stored

  std::string bytes() const {
    const auto us = [](uint16_t number, int value) {
      return dicom_element(0x28, number, "US", number_bytes(uint64_t(value), 2, false));
    };
    const auto text = [](uint16_t number, const std::string& kind, const std::string& value) {
      return value.empty() ? std::string() : dicom_element(0x28, number, kind, value);
    };
    const std::string meta = dicom_element(2, 2, "UI", "1.2.840.10008.5.1.4.1.1.1.1") +
                             dicom_element(2, 3, "UI", "1.2.3") + dicom_element(2, 0x10, "UI", syntax);
    const std::string data = dicom_element(8, 0x16, "UI", "1.2.840.10008.5.1.4.1.1.1.1") + us(2, samples) +
                             text(4, "CS", photometric) + text(8, "IS", frames) + us(0x10, rows) + us(0x11, columns) +
                             us(0x100, allocated) + us(0x101, bits) + us(0x102, high_bit) + us(0x103, is_signed) +
                             text(0x1050, "DS", centre) + text(0x1051, "DS", width) + text(0x1052, "DS", intercept) +
                             text(0x1053, "DS", slope) + text(0x1056, "CS", function) +
                             dicom_element(0x7FE0, 0x10, allocated > 8 ? "OW" : "OB", pixels);
    return std::string(128, '\0') + "DICM" + dicom_element(2, 0, "UL", number_bytes(meta.size(), 4, false)) + meta +
           data;
  }
};

/// Pixels of 16 bits.
inline std::string wide_pixels(const std::vector<int>& values) {
  std::string bytes;
  for (const int value : values) bytes += number_bytes(uint64_t(value) & 0xFFFF, 2, false);
  return bytes;
}

}  // namespace sat::test
