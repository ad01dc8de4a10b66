#include "text/json_node.h"

namespace dynamo::text {

Result<const boost::json::object*> object_of(const JsonNode& node) {
  const boost::json::object* object = node.is_absent() ? nullptr : node.value->if_object();
  if (object == nullptr) return node.wrong("an object");
  return object;
}

Result<const boost::json::array*> array_of(const JsonNode& node) {
  const boost::json::array* array = node.is_absent() ? nullptr : node.value->if_array();
  if (array == nullptr) return node.wrong("an array");
  return array;
}

Result<std::string_view> string_of(const JsonNode& node) {
  const boost::json::string* string = node.is_absent() ? nullptr : node.value->if_string();
  if (string == nullptr) return node.wrong("a string");
  return std::string_view(*string);
}

Result<bool> flag_of(const JsonNode& node, bool otherwise) {
  if (node.is_absent()) return otherwise;
  const bool* flag = node.value->if_bool();
  if (flag == nullptr) return node.wrong("true or false");
  return *flag;
}

}  // namespace dynamo::text
