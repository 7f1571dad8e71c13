// The C++ door: every public header, in reading order.
//
#pragma once

#include "sat/tensor/error.h"

#include "sat/tensor/tensor.h"

#include "sat/tensor/memory.h"
#include "sat/tensor/parallel.h"

#include "sat/tensor/context.h"
#include "sat/tensor/profile.h"
#include "sat/tensor/weights.h"

#include "sat/io/json.h"
#include "sat/io/volume.h"
