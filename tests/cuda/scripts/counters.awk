# Reads, for each case: "case NAME", its model ("key value" lines of count_kernels.cpp) and a JSON line a launch, as the
# emulator writes them. Prints a table and holds quantities against rules (counters.txt).
#
# Bytes are those that blocks ask for, 32 a sector, and the boxes of bulk copies whole; no cache is between. Of them
#   loads         of bulk copies what is no store: all, or all but the part of the result that no plain store wrote
#   weights       the model's bytes, once for each of its passes (a block's step over a tile of voxels)
#   input_reads   loads without weights, as a part of the input with its border of zeros
#   volume_bytes  everything without weights

# The number behind "key": in a line, from the first place where `within` stands.
function number(line, within, key,   at) {
  if (within != "") line = substr(line, index(line, "\"" within "\":"))
  at = index(line, "\"" key "\":")
  return at ? substr(line, at + length(key) + 3) + 0 : 0
}

function per_voxel(quantity) { return fact[name, quantity] / (fact[name, "voxels"] ? fact[name, "voxels"] : 1) }

# Published rates a multiprocessor and clock (docs/gpu.md says where from): multiply-adds of the tensor cores by wgmma and
# by mma.sync, by the f32 units; bytes of shared memory, of the L2 cache, of memory; warp instructions. And how
# many multiprocessors at how many GHz.
function device(name, wgmma, sync, f32, cache, memory, count, clock) {
  devices[++device_count] = name
  rate[name, "wgmma"] = wgmma; rate[name, "mma"] = sync; rate[name, "f32"] = f32
  rate[name, "cache"] = cache; rate[name, "memory"] = memory; rate[name, "count"] = count; rate[name, "clock"] = clock
}

# A row: the clocks that each unit of a multiprocessor is busy for a voxel, were nothing else in the way.
function predict(case_, variant, where,   cores, f32, shared, issue, cache, memory, most, by, whole) {
  name = case_
  cores = variant == "wgmma" || variant == "mma" ? per_voxel("mma") / 2 / rate[where, variant] : 0
  f32 = per_voxel("flops") / 2 / rate[where, "f32"]
  shared = per_voxel("wavefronts") + per_voxel("operand_bytes") / 128
  issue = per_voxel("instructions") / 4
  cache = (per_voxel("loads") + per_voxel("stores")) / rate[where, "cache"]
  if (!fact[case_, "weight_passes"]) {  # most is answered by the L1 cache, which shares its port
    shared += per_voxel("loads") / 128
    cache = 0
  }
  memory = (fact[case_, "input_once"] + fact[case_, "output_bytes"]) / fact[case_, "voxels"] / rate[where, "memory"]
  most = cores; by = "tensor cores"
  if (f32 > most) { most = f32; by = "f32 units" }
  if (shared > most) { most = shared; by = "shared memory" }
  if (issue > most) { most = issue; by = "instructions" }
  if (cache > most) { most = cache; by = "L2 cache" }
  if (memory > most) { most = memory; by = "memory" }
  whole = most * 288 * 288 * 96 / rate[where, "count"] / rate[where, "clock"] / 1e6
  printf "| %s | %s | %.0f | %.0f | %.0f | %.0f | %.0f | %.0f | %s | %.0f %% | %.2f |\n", case_, where, cores, f32, shared,
    issue, cache, memory, by, 100 * fact[case_, "products"] / fact[case_, "voxels"] / 2 / rate[where, "wgmma"] / most, whole
}

$1 == "case" { name = $2; names[++cases] = name; next }
/^\{/ {
  ++fact[name, "launches"]
  fact[name, "mma"] += number($0, "mma\":{\"count", "flops")
  fact[name, "loaded"] += 32 * number($0, "global", "load_sectors")
  fact[name, "stored"] += 32 * number($0, "global", "store_sectors")
  fact[name, "bulk"] += number($0, "global", "bulk_copy_bytes")
  fact[name, "wavefronts"] += number($0, "shared", "wavefronts")
  fact[name, "ideal"] += number($0, "shared", "ideal_wavefronts")
  fact[name, "instructions"] += number($0, "", "warp_instructions")
  fact[name, "flops"] += number($0, "", "flops")
  fact[name, "local_bytes"] += number($0, "", "local_bytes")
  if (number($0, "", "shared_bytes") > fact[name, "shared_bytes"]) fact[name, "shared_bytes"] = number($0, "", "shared_bytes")
  next
}
NF == 2 { fact[name, $1] = $2; next }

END {
  print "| case | voxels or rows | tensor-core operations, of the definition's | arithmetic outside them, flop | loads, bytes | of them weights | reads of the input | stores, bytes | shared wavefronts | conflict factor | warp instructions | shared bytes a block |"
  print "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
  for (c = 1; c <= cases; ++c) {
    name = names[c]
    if (!fact[name, "launches"]) continue
    fact[name, "traffic"] = fact[name, "loaded"] + fact[name, "stored"] + fact[name, "bulk"]
    bulk_stores = fact[name, "bulk"] && fact[name, "stored"] < fact[name, "output_bytes"] ? fact[name, "output_bytes"] - fact[name, "stored"] : 0
    fact[name, "stores"] = fact[name, "stored"] + bulk_stores
    fact[name, "loads"] = fact[name, "loaded"] + fact[name, "bulk"] - bulk_stores
    fact[name, "local_share"] = fact[name, "local_bytes"] / fact[name, "traffic"]
    fact[name, "weights"] = fact[name, "weights_bytes"] * fact[name, "weight_passes"]
    fact[name, "volume_bytes"] = fact[name, "traffic"] - fact[name, "weights"]
    if (fact[name, "input_bytes"]) fact[name, "input_reads"] = (fact[name, "loads"] - fact[name, "weights"]) / fact[name, "input_bytes"]
    ratio = fact[name, "products"] ? fact[name, "mma"] / fact[name, "products"] : 0
    fact[name, "tensor_core_excess"] = ratio > 1 ? ratio - 1 : 1 - ratio
    fact[name, "bank_conflicts"] = fact[name, "ideal"] ? fact[name, "wavefronts"] / fact[name, "ideal"] : 1
    if (!fact[name, "voxels"]) fact[name, "voxels"] = fact[name, "rows"]
    printf "| %s | %d | %.3f | %.1f | %.1f | %.1f | %.3f | %.1f | %.2f | %.3f | %.2f | %d |\n", name, fact[name, "voxels"],
      ratio, per_voxel("flops"), per_voxel("loads"), per_voxel("weights"), fact[name, "input_reads"],
      per_voxel("stores"), per_voxel("wavefronts"), fact[name, "bank_conflicts"], per_voxel("instructions"),
      fact[name, "shared_bytes"]
  }
  print "Figures but ratios and the last column are a voxel's or a row's."
  print ""
  print "Predicted, not measured: clocks a voxel and multiprocessor that each unit is busy; the longest bounds the variant."
  print ""
  print "| case | device | tensor cores | f32 units | shared memory | instructions | L2 cache | memory | bound by | share of the tensor cores' peak, at most | 288 x 288 x 96 voxels, ms, at least |"
  print "|---|---|---:|---:|---:|---:|---:|---:|---|---:|---:|"
  device("A100", 1024, 1024, 64, 47, 10.5, 108, 1.41)
  device("H100", 2048, 1290, 128, 22.8, 12.4, 132, 1.83)
  for (c = 1; c <= cases; ++c) {
    if (!fact[names[c], "launches"] || split(names[c], word, "/") < 3 || word[1] != "conv3d") continue
    for (d = 1; d <= device_count; ++d) {
      if (word[2] != "wgmma" || devices[d] == "H100") predict(names[c], word[2] == "composed" ? "mma" : word[2], devices[d])
    }
  }
  print ""
  while ((getline line < rules) > 0) {
    if (line ~ /^#/ || line ~ /^[ \t]*$/) continue
    fields = split(line, word, " ")
    whole = fields == 5 ? fact[word[5], word[2]] : 1
    if (fields < 4 || !fact[word[1], "launches"] || !whole) {
      ++failed
      print "not counted: " line
      continue
    }
    value = fact[word[1], word[2]] / whole
    good = value >= word[3] && value <= word[4]
    good ? ++passed : ++failed
    printf "%s%s: %s is %.3f%s, wanted %s to %s\n", good ? "" : "WRONG ", word[1], word[2], value,
      fields == 5 ? " of that of " word[5] : "", word[3], word[4]
  }
  if (!passed && !failed) { print "no rules in " rules; failed = 1 }
  printf "%d passed, %d failed\n", passed, failed
  exit failed > 0
}
