// The documents of Boost.JSON under one name, so that readers speak of json::value and json::Node alike.
// Threads: as Boost.JSON's.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/string.hpp>
#include <boost/json/value.hpp>

namespace dynamo::json {

using boost::json::array;
using boost::json::kind;
using boost::json::object;
using boost::json::serialize;
using boost::json::storage_ptr;
using boost::json::string;
using boost::json::string_view;
using boost::json::value;

}  // namespace dynamo::json
