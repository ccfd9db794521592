{% test at_most(model, column_name, bound) %}
select {{ column_name }}
from {{ model }}
where {{ column_name }} > {{ bound }}
{% endtest %}

{% test at_least(model, column_name, bound) %}
select {{ column_name }}
from {{ model }}
where {{ column_name }} < {{ bound }}
{% endtest %}
