{# The condition holds in every row; null is a failure. #}
{% test always(model, condition) %}
select *
from {{ model }}
where not coalesce({{ condition }}, false)
{% endtest %}
